"""A run whose policy remembers, played: each environment by what was seen of its own episode."""

import json

import numpy as np
import pytest
import torch

import gpusim
from gpusim import InputError
from gpusim.agents import load_policy as load
from gpusim.agents.app import film, trajectory
from gpusim.agents.app.cli import main
from gpusim.agents.train.evaluate import evaluate, evaluate_oracle, load_policy, play
from gpusim.agents.train.run import RunFolder, make_learner, preset
from gpusim.policy import StatefulPolicy
from gpusim.tree import tree_map
from tests.agents.test_film import Kept

ENV = "StatelessCartPole-v1"


@pytest.fixture(scope="module")
def made():
    """A learner whose actions hang on what it remembers."""
    learner = make_learner("ppo", preset("ppo", ENV, device="cpu", num_envs=4))
    with torch.no_grad():
        learner.optimizer.flat.add_(
            torch.randn(len(learner.optimizer.flat), generator=torch.Generator().manual_seed(0))
        )
    return learner


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    RunFolder.create(path, "ppo", made.config).checkpoint(made, [])
    return path


def returns(network, env, n, seed, forgetting=False):
    """Of the first episodes of n environments by the network's mode, which is unrolled over all that was seen."""
    venv = gpusim.make(env, n, device="cpu", autoreset_mode="disabled", validate=False)
    obs, _ = venv.reset(seed=seed)
    seen, alive, total = [], torch.ones(n, dtype=torch.bool), torch.zeros(n)
    while alive.any():
        seen = [obs] if forgetting else [*seen, obs]
        begun = torch.zeros(len(seen), n, dtype=torch.bool)
        with torch.no_grad():
            distribution = network.unroll(torch.stack(seen), network.initial_state(n, obs.device), begun)[0]
        obs, reward, terminated, truncated, _ = venv.step(network.env_action(distribution.mode()[-1]))
        total += reward * alive
        alive &= ~(terminated | truncated)
    return total


def test_it_is_played_by_what_it_has_seen(made, run):
    policy = load_policy(run, deterministic=True, device="cpu")
    expected = returns(made.network, ENV, 16, 5)
    assert not torch.equal(expected, returns(made.network, ENV, 16, 5, forgetting=True))
    assert torch.equal(evaluate(policy, ENV, 16, 5, "cpu"), expected)


def test_where_episodes_begin_again_it_begins_again():
    """As environments play that were handed in: several episodes in each."""
    env, lengths = gpusim.make("CartPole-v1", 5, device="cpu", validate=False), []

    class Counts:
        def initial_state(self, num_envs, device):
            return torch.zeros(num_envs)

        def act(self, obs, state, begun):
            steps = torch.where(begun, 0.0, state) + 1
            lengths.append((steps, env.get_state().elapsed + 1))
            return torch.zeros(5, dtype=torch.int64), {}, steps

    assert len(play(Counts(), env, 20, 0)) == 20
    assert all(torch.equal(ours, theirs.float()) for ours, theirs in lengths)
    assert len(lengths) > 20


def test_it_is_filmed_and_drawn_as_it_is_evaluated(run, monkeypatch):
    monkeypatch.setattr(film, "Video", Kept)
    policy = load_policy(run, deterministic=True, device="cpu")
    scores = evaluate(policy, ENV, 3, 5, "cpu")
    for _ in range(2):  # nothing is left in it
        assert torch.equal(film.record(policy, "x", 3, 5, device="cpu")[1], scores)
    drawn = trajectory.play(policy, 5)
    assert drawn.reward.sum() == evaluate(policy, ENV, 1, 5, "cpu").item()
    trajectory.picture(drawn, policy.env)


def test_it_acts_in_rollouts_and_on_arrays(run, made):
    policy = load(run, deterministic=True)
    assert isinstance(policy, StatefulPolicy)
    env = gpusim.make(ENV, 6, device="cpu")
    env.reset(seed=2)
    rollout = env.rollout(40, policy)
    assert rollout.begun[1:].any()
    state = policy.initial_state(6, env.device)
    with torch.no_grad():
        expected, _, states = made.network.unroll(rollout.obs, state, rollout.begun)
    assert torch.equal(expected.mode(), rollout.action)
    for got, last in zip(rollout.last_policy_state, tree_map(lambda x: x[-1], states), strict=True):
        torch.testing.assert_close(got, last, atol=1e-5, rtol=0)
    action, extras, _ = policy.act(rollout.obs[0].numpy(), state, np.ones(6, bool))
    assert isinstance(action, np.ndarray)
    assert action.tolist() == rollout.action[0].tolist()
    assert extras == {}
    with pytest.raises(InputError, match="the policy remembers, so an observation alone does not tell"):
        policy(rollout.obs[0])
    drawn = load(run)
    actions = [drawn.act(rollout.obs[0], state, rollout.begun[0])[0] for _ in range(20)]
    assert len({tuple(a.tolist()) for a in actions}) > 1


def command(*args):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


def test_the_commands(tmp_path, capsys):
    run = tmp_path / "run"
    small = ("--num-envs", 4, "--num-steps", 16, "--minibatches", 2, "--total-steps", 256, "--device", "cpu")
    assert command("train", "pqn", "CartPole-v1", *small, "--network", "mingru", "--run-dir", run) == 0
    assert json.loads((run / "result.json").read_text())["episodes"] == 100
    assert command("eval", run, "--episodes", 3) == 0
    assert command("eval", run, "--episodes", 3, "--oracle") == 0
    assert command("plot", run, "--trajectory", "--out", tmp_path / "x.png") == 0
    out = capsys.readouterr().out
    assert "over 3 episodes" in out
    policy = load_policy(run, deterministic=True, device="cpu")
    assert len(evaluate_oracle(policy, "CartPole-v1", 4, 0)) == 4
    assert command("train", "dqn", "CartPole-v1", "--network", "gru") == 2
    assert "dqn cannot hold a network that remembers" in capsys.readouterr().err
