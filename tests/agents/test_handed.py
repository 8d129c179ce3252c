"""Learners on environments that were handed to them: wrapped, with parameters, with a reward of one's own."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import gpusim
from gpusim.agents import dqn, load_policy, ppo, pqn, reinforce, resume
from gpusim.agents.app.cli import main
from gpusim.agents.train.evaluate import closing
from gpusim.agents.train.learner import Learner
from gpusim.errors import InputError
from gpusim.kernels.lang import where
from gpusim.sim.stateful import SimulatorVectorEnv
from gpusim.wrappers import FrameStackObservation, NormalizeObservation, NormalizeReward, RescaleAction, TimeLimit
from tests.envs.slide import Slides

N = 6
PPO = {
    "num_envs": N, "num_steps": 16, "minibatches": 2, "hidden": (16,), "total_steps": 6 * 96, "checkpoint_every": 3,
    "log_every": 1,
}  # fmt: skip
DQN = {
    "num_envs": N, "num_steps": 8, "hidden": (16,), "total_steps": 12 * 48, "checkpoint_every": 6, "capacity": 480,
    "batch_size": 32, "learning_starts": 96, "replay_ratio": 0.1, "log_every": 1,
}  # fmt: skip
LEARNERS = {"ppo": (ppo, PPO), "dqn": (dqn, DQN)}


def make(env="CartPole-v1", num_envs=N, **options):
    return gpusim.make(env, num_envs, device="cpu", **options)


def wrapped():
    return NormalizeReward(NormalizeObservation(make()))


def stacked():
    return FrameStackObservation(make(), 3)


def drawn():
    return make(params={"half_length": gpusim.Uniform(0.3, 0.7), "force": torch.linspace(8.0, 12.0, N)})


def limited():
    return TimeLimit(make(), 9)


def right(state, action, next_state, reward, terminated, params):
    return params.right * where(action == 1, 1.0, -1.0)


RIGHT = gpusim.spec("CartPole-v1").with_reward(right, params={"right": 1.0}, id="Right-v0")


def rewarded():
    return make(RIGHT, params={"right": gpusim.Uniform(0.5, 1.0)})


def simulated():
    return SimulatorVectorEnv(Slides(N))


HANDED = {
    "wrapped": wrapped, "stacked": stacked, "drawn": drawn, "limited": limited, "rewarded": rewarded,
    "simulated": simulated,
}  # fmt: skip


def settings(name, handed, **changes):
    algorithm, sizes = LEARNERS[name]
    changes |= {"normalize_obs": False} if isinstance(handed, FrameStackObservation) else {}
    return algorithm, algorithm.Config(env=handed.unwrapped.task.id, device="cpu", **sizes | changes)


def weights(learner):
    return learner.network.state_dict()


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("name", LEARNERS)
def test_environments_that_are_handed_in_are_as_those_made_by_their_id(name):
    algorithm, config = settings(name, make())
    assert_same(weights(algorithm.train(config).learner), weights(algorithm.train(config, make()).learner))


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", HANDED)
def test_a_resumed_run_ends_like_the_unbroken_one(kind, name, tmp_path):
    algorithm, config = settings(name, HANDED[kind](), run_dir=str(tmp_path / "whole"), normalize_reward=True)
    whole = algorithm.train(config, HANDED[kind]())
    assert len(whole.metrics) == config.iterations
    assert json.loads((tmp_path / "whole" / "result.json").read_text())["episodes"] == 100
    algorithm.train(replace(config, run_dir=str(tmp_path / "broken")), HANDED[kind]())
    sorted((tmp_path / "broken" / "checkpoints").glob("*.pt"))[-1].unlink()
    broken = resume(tmp_path / "broken", env=HANDED[kind]())
    assert_same(weights(whole.learner), weights(broken.learner))
    assert [m["return"] for m in broken.metrics] == pytest.approx([m["return"] for m in whole.metrics], nan_ok=True)


@pytest.mark.parametrize("kind", HANDED)
def test_what_is_handed_in_is_what_is_learned_from(kind):
    _, config = settings("ppo", HANDED[kind]())
    ours = ppo.train(config, HANDED[kind]()).learner
    plain = ppo.train(replace(config, env="CartPole-v1")).learner
    assert not all(
        torch.equal(x, y) for x, y in zip(ours.network.parameters(), plain.network.parameters(), strict=True)
    )


def test_a_wrappers_observations_are_what_the_network_takes():
    _, config = settings("ppo", stacked())
    learner = ppo.PPO(config, stacked())
    assert learner.network.actor[0].in_features == 3 * 4
    assert learner.task.observation_space.shape == (3, 4)


@pytest.mark.parametrize(("sign", "action"), [(1.0, 1), (-1.0, 0)])
def test_a_reward_of_ones_own_and_its_parameters_are_learned(sign, action):
    config = ppo.Config(env="Right-v0", device="cpu", **PPO | {"total_steps": 40 * 96, "learning_rate": 1e-2})
    learner = ppo.train(config, make(RIGHT, params={"right": sign})).learner
    probability = learner.network.distribution(torch.zeros(1, 4)).logits.softmax(-1)[0]
    assert probability[action] > 0.9


def test_a_task_will_do_of_which_no_id_is_registered(tmp_path):
    assert "Right-v0" not in gpusim.env_ids()
    config = ppo.Config(env="Right-v0", device="cpu", run_dir=str(tmp_path / "run"), **PPO)
    one = ppo.train(config, RIGHT).learner
    assert_same(weights(one), weights(ppo.train(replace(config, run_dir=None, env=RIGHT)).learner))
    assert "'Right-v0', which no id names" in json.loads((tmp_path / "run" / "config.json").read_text())["handed"]
    more = resume(tmp_path / "run", env=RIGHT, total_steps=8 * 96)
    assert more.learner.iteration == 8
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["total_steps"] == 8 * 96
    assert len(more.metrics) == 8


def test_rescaled_actions_are_given_by_the_network():
    env = RescaleAction(make("Pendulum-v1"), np.float32(-0.5), np.float32(0.5))
    config = ppo.Config(env="Pendulum-v1", device="cpu", **PPO)
    assert ppo.train(config, env).learner.network.action_half.item() == 0.5


@pytest.mark.parametrize("algorithm", [pqn, reinforce])
def test_other_learners_take_them_too(algorithm):
    steps = {"episode_steps": 16} if algorithm is reinforce else {"num_steps": 16}
    sizes = {"num_envs": N, "hidden": (16,), "total_steps": 3 * 96, "normalize_obs": False}
    config = algorithm.Config(env="CartPole-v1", device="cpu", **sizes, **steps)
    assert algorithm.train(config, stacked()).learner.iteration == 3


# ---------------------------------------------------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    _, config = settings("ppo", stacked(), run_dir=str(folder))
    ppo.train(config, stacked())
    return folder


def test_the_folder_says_what_it_cannot_make_again(run):
    content = json.loads((run / "config.json").read_text())
    assert content["config"]["env"] == "CartPole-v1"
    assert "FrameStackObservation" in content["handed"]


@pytest.mark.parametrize("command", [("resume",), ("eval",), ("plot", "--trajectory")])
def test_the_command_line_says_who_can(command, run, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command[0], str(run), *command[1:]])
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert "cannot make its environments again" in said
    assert "FrameStackObservation" in said
    assert "env=..." in said
    assert said.count("\n") == 1


def test_its_curve_needs_no_environments(run, tmp_path):
    with pytest.raises(SystemExit) as exit_:
        main(["plot", str(run), "--out", str(tmp_path / "curve.png")])
    assert exit_.value.code == 0


def test_its_policy_is_loaded_with_them(run):
    env = stacked()
    obs, _ = env.reset(seed=0)
    policy = load_policy(run, deterministic=True, env=env)
    assert torch.equal(policy(obs), policy(obs))
    with pytest.raises(InputError, match=r"load_policy\(.*, env=\.\.\.\)"):
        load_policy(run)


def test_parameters_are_named():
    config = settings("ppo", drawn())[1]
    said = ppo.PPO(config, drawn()).handed
    assert "half_length=Uniform(low=0.3, high=0.7)" in said
    assert "force=one for each" in said
    assert ppo.PPO(config).handed is None


def test_what_counts_as_solved_is_said_of_the_task_as_it_is():
    assert ppo.PPO(settings("ppo", stacked())[1], stacked()).task.reward_threshold == 475.0
    assert ppo.PPO(settings("ppo", drawn())[1], drawn()).task.reward_threshold is None


def test_other_environments_than_the_runs_are_told(run):
    with pytest.raises(InputError, match=r"The run began on <FrameStack.*, not on <FrameStack.*<NormalizeReward"):
        resume(run, env=FrameStackObservation(NormalizeReward(make()), 3))
    with pytest.raises(InputError, match=r"The run began on <FrameStack.*, not on VectorEnv"):
        resume(run, env=make())


def test_a_folder_from_python_is_as_one_of_the_command_line(tmp_path):
    config = ppo.Config(env="CartPole-v1", device="cpu", run_dir=str(tmp_path / "run"), **PPO)
    whole = ppo.train(config)
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content["handed"] is None
    assert content["reward_threshold"] == 475.0
    sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1].unlink()
    assert_same(weights(whole.learner), weights(resume(tmp_path / "run").learner))
    assert resume(tmp_path / "run").ending == "complete"
    with pytest.raises(InputError, match="total_steps must be more"):
        resume(tmp_path / "run", total_steps=96)
    with pytest.raises(TypeError):
        resume(tmp_path / "run", num_envs=3)


# ------------------------------------------------------------------------------------------------ the closing evaluation


def test_the_policy_is_scored_where_it_learned_and_they_stay_as_they_were():
    config = settings("ppo", limited())[1]
    learner = ppo.train(config, limited()).learner
    before = learner.env.get_state()
    assert closing(learner)["mean"] <= 9.0
    after = learner.env.get_state()
    assert_same(
        before.env._asdict() | {"state": before.env.state.x, "params": torch.zeros(0), "clock": torch.zeros(0)},
        after.env._asdict() | {"state": after.env.state.x, "params": torch.zeros(0), "clock": torch.zeros(0)},
    )
    assert before.env.clock == after.env.clock


# ------------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (lambda: make(num_envs=5), "say Config\\(num_envs=5\\)"),
        (lambda: make("Acrobot-v1"), "say Config\\(env='Acrobot-v1'\\)"),
        (lambda: make(autoreset_mode="next_step"), "autoreset_mode='same_step', not 'next_step'"),
        (lambda: make(backend="native"), "backend 'eager', and the environments step by 'native'"),
        (lambda: "CartPole-v1", "PhysicsEnv or a gpusim.Env, not 'CartPole-v1'"),
        (lambda: Learner, "PhysicsEnv or a gpusim.Env, not"),
    ],
)
def test_others_than_the_configuration_says_are_refused(env, sentence):
    config = ppo.Config(env="CartPole-v1", device="cpu", backend="eager", **PPO)
    with pytest.raises(InputError, match=sentence):
        ppo.train(config, env())


def test_what_they_show_is_checked():
    config = settings("dqn", make("Pendulum-v1"))[1]
    with pytest.raises(InputError, match="dqn chooses among discrete actions"):
        dqn.train(config, make("Pendulum-v1"))
    with pytest.raises(InputError, match="normalize_obs is for observations of numbers"):
        ppo.train(ppo.Config(env="CartPole-v1", device="cpu", normalize_obs=True, **PPO), stacked())
    with pytest.raises(InputError, match="episodic_life"):
        ppo.train(ppo.Config(env="CartPole-v1", device="cpu", episodic_life=True, **PPO), make())
