"""DQN: its loss by hand, its schedules, the probe environments, bad input, and a resume that ends where it should."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

import gpusim
from gpusim.agents import dqn, load_policy, off_policy
from gpusim.agents.dqn import DQN, Config, distribution_loss, dqn_loss, td_target
from gpusim.agents.parts.finite import Watch
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.parts.values import Atoms, of_action
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.run import RunFolder, make_learner, preset
from gpusim.errors import InputError
from gpusim.kernels.distributions import EpsilonGreedy
from gpusim.kernels.launch import recording
from gpusim.sim.functional import SyncFree
from tests.agents import probes
from tests.agents.test_run import assert_same_end, readings
from tests.agents.test_run import gpusim as command


def t(*values):
    return torch.tensor(values)


# ------------------------------------------------------------------------------------------------------------ loss


def test_target_by_hand():
    """Target network (1, 3) and (5, 2), policy network prefers the first and the second: double takes 1 and 2."""
    returns, discount = t(0.5, 1.0), t(0.5, 0.25)
    next_q, choice = t([1.0, 3.0], [5.0, 2.0]), t([9.0, 8.0], [0.0, 0.1])
    assert td_target(returns, discount, next_q).tolist() == [2.0, 2.25]
    assert td_target(returns, discount, next_q, choice).tolist() == [1.0, 1.5]
    assert td_target(returns, t(0.0, 0.0), next_q).tolist() == [0.5, 1.0]


def test_loss_by_hand():
    """Taken 1 and −2, targets 1.5 and 2: errors ½ and 4, ½ · ¼ = 0.125 and 4 − ½ = 3.5; bent at 2: 2 (4 − 1) = 6."""
    q, action, target = t([1.0, 7.0], [7.0, -2.0]), t(0, 1), t(1.5, 2.0)
    losses = dqn_loss(Config(), q, action, target)
    assert losses.total.item() == pytest.approx((0.125 + 3.5) / 2)
    assert losses.q.item() == -0.5
    assert losses.error.tolist() == [0.5, 4.0]
    assert dqn_loss(Config(huber=2.0), q, action, target).total.item() == pytest.approx((0.125 + 6.0) / 2)
    weighted = dqn_loss(Config(), q, action, target, t(1.0, 0.1))
    assert weighted.total.item() == pytest.approx((0.125 + 0.35) / 2)


def test_the_gradient_is_the_error_where_it_is_small_and_bounded_where_it_is_large():
    q = t([1.0, 7.0], [7.0, -2.0]).requires_grad_()
    dqn_loss(Config(), q, t(0, 1), t(1.5, 2.0)).total.backward()
    assert q.grad.tolist() == [[-0.25, 0.0], [0.0, -0.5]]


def test_the_loss_of_a_distribution_by_hand():
    """Atoms −1, 0, 1, all alike, of which the target is the last: log 3; its mean is 1, and was 0."""
    out = torch.zeros(2, 2, 3)
    out[0, 1, 0] = 5.0
    taken = of_action(out, t(1, 0))
    assert taken.tolist() == [[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    losses = distribution_loss(Atoms(-1.0, 1.0, 3), taken[1:], t([0.0, 0.0, 1.0]), t(0.5))
    assert losses.total.item() == pytest.approx(0.5 * math.log(3))
    assert losses.error.tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_has_the_frequencies_it_should(epsilon):
    q = t(0.0, 2.0, 1.0).expand(60_000, 3)
    action = EpsilonGreedy(q, t(epsilon)).sample(torch.Generator().manual_seed(0))
    expected = t(0.0, 1 - epsilon, 0.0) + epsilon / 3
    torch.testing.assert_close(action.bincount(minlength=3) / 60_000, expected, atol=0.01, rtol=0)


def test_dueling_by_hand():
    """Advantages 1 and 5, mean 3, value 10: 8 and 12."""
    env = gpusim.spec("CartPole-v1")
    spaces = (env.observation_space, env.action_space)
    network = QNetwork(*spaces, (8,), "relu", False, True, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for part, bias in ((network.actor, t(1.0, 5.0)), (network.critic, t(10.0))):
            part[-1].weight.zero_()
            part[-1].bias.copy_(bias)
    assert network.q(torch.randn(3, 4)).tolist() == [[8.0, 12.0]] * 3
    assert network.value(torch.randn(2, 4)).tolist() == [12.0, 12.0]
    network.dueling = False
    assert network.q(torch.randn(2, 4)).tolist() == [[1.0, 5.0]] * 2
    assert len(network.trained()) == 4


# ------------------------------------------------------------------------------------------------------- schedules

PLAIN, BOARDS = (  # without a preset
    gpusim.register(replace(gpusim.spec(f"{name}-v1"), id=f"Plain{name.rpartition('/')[2]}-v1"))
    for name in ("CartPole", "MinAtar/Breakout")
)
SMALL = {"env": PLAIN.id, "num_envs": 4, "num_steps": 8, "total_steps": 640, "learning_starts": 64}
SMALL |= {"batch_size": 16, "capacity": 256, "hidden": (8,), "device": "cpu"}


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.25, 1.0, 1.7])
def test_updates_keep_the_ratio(ratio):
    config = Config(**SMALL, replay_ratio=ratio)
    updates = [config.updates(i) for i in range(config.iterations)]
    assert updates[0] == 0  # 32 steps, learning starts after 64
    assert all(abs(u - ratio * 32) < 1 for u in updates[1:])
    assert sum(updates) == pytest.approx(ratio * 640 - int(ratio * 32), abs=1)


def test_the_ratio_is_reported_as_it_was():
    result = dqn.train(Config(**SMALL, replay_ratio=0.25))
    assert [m["updates_per_step"] for m in result.metrics[:2]] == [0.0, 8 / 64]
    assert result.metrics[-1]["updates_per_step"] == pytest.approx(8 * 19 / 640)
    assert "0.25 updates of 16 samples for one environment step" in result.learner.path
    assert result.learner.replay.memory == "256 × 39 B = 9.8 KiB"


def test_epsilon_falls_to_its_end():
    result = dqn.train(Config(**SMALL, exploration=0.5, epsilon_end=0.1))
    found = [m["epsilon"] for m in result.metrics]
    assert found == pytest.approx([max(0.1, 1 - 0.9 * i / 10) for i in range(20)])


@pytest.mark.parametrize("dueling", [False, True])
def test_the_target_network_follows(dueling):
    """τ = ¼ every third iteration: a quarter of the way each time; τ = 1 copies."""
    learner = dqn.DQN(Config(**SMALL, target_every=3, tau=0.25, dueling=dueling))
    start = [p.clone() for p in learner.target.trained()]
    assert all(torch.equal(a, b) for a, b in zip(start, learner.network.trained(), strict=True))
    for i in range(1, 7):
        before = [p.clone() for p in learner.target.trained()]
        learner.iterate()
        for old, new, ours in zip(before, learner.target.trained(), learner.network.trained(), strict=True):
            torch.testing.assert_close(new, old + (ours - old) * 0.25 if i % 3 == 0 else old)
    assert not all(torch.equal(a, b) for a, b in zip(start, learner.target.trained(), strict=True))
    copied = dqn.train(Config(**SMALL, dueling=dueling)).learner
    pairs = zip(copied.target.trained(), copied.network.trained(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


# ------------------------------------------------------------------------------------------------------- in a graph

KINDS = {
    "plain": {},
    "all": {"dueling": True, "n_step": 3, "prioritized": True, "normalize_obs": True, "anneal": True, "tau": 0.5},
    "rainbow": {"preset": "rainbow", "atoms": 11},
    "images": {"env": BOARDS.id},
    "C51": {"atoms": 11, "dueling": True, "prioritized": True},
    "quantiles": {"quantiles": 5, "double": False},
    "scaled": {"normalize_reward": True, "layer_norm": True, "repeat": 0.5},
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


def noted(self, rollout, iteration):
    """`Watch.look` as on a GPU."""
    done = rollout.terminated | rollout.truncated
    self.note(rollout.obs, rollout.next_obs, rollout.reward, rollout.episode_length, done)


@each_kind
def test_an_iteration_looks_at_no_value(changes, monkeypatch):
    """Fake tensors have none: waiting for a value, or a shape that depends on data, would raise."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(torch.nn.utils, "skip_init", lambda kind, *sizes: kind(*sizes))  # these two swap tensors,
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, _: module)  # which fake ones cannot
    monkeypatch.setattr(Watch, "look", noted)
    with FakeTensorMode(), recording() as launches:
        learner = DQN(Config(**SMALL | {"backend": "triton", "replay_ratio": 0.04} | changes))
        learner.graphed.wanted = True  # what a GPU would capture
        learner.env.validate = False  # as on a GPU
        launches.clear()
        counts = []
        for _ in range(6):
            counts.append(learner.config.updates(learner.iteration))
            metrics = learner.iterate()
            reading = torch.stack([*metrics.values(), *learner.window.mean()])
        with pytest.raises(DataDependentOutputException):
            reading.sum().item()
    assert set(learner.graphed.captured) == {(0,), (1,), (2,)} == {(n,) for n in counts}
    names = [launch.kernel.fn.__name__ for launch in launches]
    assert names.count("insert_kernel") == 6
    prioritized = learner.config.prioritized
    assert names.count("sample_kernel") == (sum(counts) if prioritized else sum(n > 0 for n in counts))
    assert names.count("draw_kernel") == names.count("update_kernel") == sum(counts) * prioritized


def on_tensors(config):
    """A learner whose environments step by torch, as on a GPU: on the CPU they do by NumPy."""
    learner = DQN(config)
    env = learner.env
    env._make_stepper = lambda: SyncFree(env.task, env._mode(), env.index, False)
    env.reset(seed=config.seed)
    return learner


def addresses(learner):
    """Where all lies that lasts from one iteration to the next."""
    buffers = [b for module in learner.modules().values() for b in (*module.buffers(), *module.parameters())]
    return [x.data_ptr() for x in (*buffers, learner.optimizer.flat, learner.metrics, learner.beta)]


@each_kind
def test_what_a_graph_would_hold_does_the_same(changes):
    """A captured function reads its numbers from tensors; the rate is one that float32 has, so nothing may differ."""
    config = Config(**SMALL | changes | {"learning_rate": 2.0**-9, "anneal": False, "total_steps": 32 * 8})
    plain, captured = on_tensors(config), on_tensors(config)
    captured.graphed.wanted = True
    where = addresses(captured)
    for _ in range(8):
        for (name, one), other in zip(plain.iterate().items(), captured.iterate().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=name)
    assert len(captured.graphed.captured) == 3
    assert torch.equal(plain.optimizer.flat, captured.optimizer.flat)
    assert torch.equal(plain.replay.obs, captured.replay.obs)
    assert plain.env.clock == captured.env.clock
    assert addresses(captured) == where  # of which a graph knows no other


def test_many_updates_are_drawn_in_parts(monkeypatch):
    """Of vectors that fit the same comes out; the limit is for images."""
    learners = []
    for cells in (2**24, 2 * 16 * 4):
        monkeypatch.setattr(off_policy, "CELLS_AT_ONCE", cells)
        learners.append(dqn.train(Config(**SMALL, replay_ratio=0.3)).learner)
    one, other = (x.optimizer for x in learners)
    assert one.steps == other.steps
    torch.testing.assert_close(one.flat, other.flat, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- probes

QUICK = {"num_envs": 32, "num_steps": 4, "total_steps": 8_000, "hidden": (16,), "device": "cpu", "seed": 1}
QUICK |= {"learning_rate": 1e-2, "gamma": 0.5, "batch_size": 64, "learning_starts": 256, "capacity": 4096}
QUICK |= {"exploration": 0.5, "anneal": True, "replay_ratio": 0.05, "target_every": 2}
VARIANTS = {
    "plain": {"double": False},
    "double": {},
    "dueling": {"dueling": True},
    "n_step": {"n_step": 3},
    "prioritized": {"prioritized": True},
    "polyak": {"tau": 0.5, "target_every": 1},
    "C51": {"atoms": 21, "v_min": -3.0, "v_max": 3.0},
    "quantiles": {"quantiles": 8, "dueling": True},
    "all": {"dueling": True, "n_step": 3, "prioritized": True, "normalize_obs": True},
}
EACH = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def network(env, changes):
    return dqn.train(Config(env=env.id, **QUICK | changes)).learner.network


def values(network, *observations):
    return network.value(torch.tensor(observations).unsqueeze(-1)).tolist()


@EACH
def test_a_constant_reward_is_the_value(changes):
    assert values(network(probes.CONSTANT, changes), 0.0) == pytest.approx([1.0], abs=0.05)


@EACH
def test_the_value_depends_on_the_observation(changes):
    assert values(network(probes.SEEN, changes), 1.0, -1.0) == pytest.approx([1.0, -1.0], abs=0.1)


@EACH
def test_a_later_reward_is_discounted(changes):
    assert values(network(probes.DELAYED, changes), 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.1)


@EACH
def test_a_truncated_episode_bootstraps(changes):
    """A reward of 1 for ever is worth 1 / (1 - 0.5); an ending at the time limit would give 1 to 1.97."""
    assert values(network(probes.ENDLESS, changes), 0.0) == pytest.approx([2.0], abs=0.03)


@EACH
def test_the_rewarded_action_is_chosen(changes):
    q = network(probes.CHOSEN, changes).q(torch.zeros(1, 1))
    assert q[0].tolist() == pytest.approx([-1.0, 1.0], abs=0.1)


@EACH
def test_the_action_follows_the_observation(changes):
    q = network(probes.MATCHED, changes).q(torch.tensor([[1.0], [-1.0]]))
    assert q[0].tolist() == pytest.approx([-1.0, 1.0], abs=0.2)
    assert q[1].tolist() == pytest.approx([1.0, -1.0], abs=0.2)


# --------------------------------------------------------------------------------------------------------- a game


@pytest.mark.slow
def test_the_preset_learns_cartpole():
    learner = dqn.train(preset("dqn", "CartPole-v1", device="cpu")).learner
    scores = evaluate(lambda obs: learner.network.act(obs, None), gpusim.spec("CartPole-v1"), 100, 10_000, "cpu")
    assert scores.mean() >= 475


# ---------------------------------------------------------------------------------------------------------- resume

ARGS = ["--num-envs", "4", "--num-steps", "8", "--total-steps", "1280", "--checkpoint-every", "10", "--capacity", "300"]
ARGS += ["--learning-starts", "64", "--batch-size", "16", "--replay-ratio", "0.3", "--target-every", "3"]
ALL = ["--prioritized", "--dueling", "--n-step", "3", "--normalize-obs", "--noisy"]


def train(folder, *extra):
    return command("train", "dqn", "CartPole-v1", *ARGS, "--run-dir", folder, *extra)


@pytest.mark.parametrize("extra", [[], ALL], ids=["plain", "all"])
def test_a_resumed_run_ends_bit_for_bit_like_the_unbroken_one(extra, tmp_path):
    for name in ("whole", "broken"):
        assert train(tmp_path / name, *extra) == 0
    for checkpoint in sorted((tmp_path / "broken" / "checkpoints").glob("*.pt"))[1:]:
        checkpoint.unlink()
    assert command("resume", tmp_path / "broken") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "broken")
    assert readings(tmp_path / "whole") == readings(tmp_path / "broken")


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], ALL], ids=["plain", "all"])
def test_without_its_replay_a_run_is_resumed_by_filling_it_again(extra, tmp_path):
    """Checkpoints are small; of 64 steps the first 32 are for the replay alone; and it ends the same at every attempt."""
    kept, extra = tmp_path / "kept", [*extra, "--log-every", "1"]
    assert train(kept, *extra) == 0
    for name in ("whole", "one", "other"):
        assert train(tmp_path / name, "--no-keep-replay", *extra) == 0
    assert readings(kept) == readings(tmp_path / "whole")
    sizes = [max(p.stat().st_size for p in (x / "checkpoints").iterdir()) for x in (kept, tmp_path / "whole")]
    assert sizes[0] - sizes[1] > 300 * 39
    for name in ("one", "other"):
        for checkpoint in sorted((tmp_path / name / "checkpoints").glob("*.pt"))[1:]:
            checkpoint.unlink()
        assert command("resume", tmp_path / name) == 0
    assert_same_end(tmp_path / "one", tmp_path / "other")
    whole, resumed = readings(tmp_path / "whole"), readings(tmp_path / "one")
    at = next(i for i, (a, b) in enumerate(zip(whole, resumed, strict=True)) if a != b)
    assert at == 20  # where the oldest checkpoint was
    made = [round(m["updates_per_step"] * m["steps"]) for m in resumed[18:23]]
    assert made[0] < made[1] == made[2] < made[3] < made[4]


def test_a_refilled_run_is_resumed_where_it_stood():
    """A checkpoint made while the replay is filled again knows since when it is."""
    config = Config(**SMALL, replay_ratio=0.25)
    one, other = DQN(config), DQN(config)
    one.empty_before = 1
    for _ in range(2):
        one.iterate()
    assert one.optimizer.steps == 0  # iteration 1 would have learned
    other.load(one.state())
    for learner in (one, other):
        learner.iterate()
    assert one.optimizer.steps == other.optimizer.steps == 8
    assert torch.equal(one.optimizer.flat, other.optimizer.flat)


def test_a_run_is_evaluated_by_its_greedy_policy(tmp_path, capsys):
    assert train(tmp_path / "run", "--dueling") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("memory: replay 11 KiB, rollout ")
    assert command("eval", tmp_path / "run", "--episodes", "5") == 0
    assert "over 5 episodes" in capsys.readouterr().out
    learner = make_learner("dqn", RunFolder.open(tmp_path / "run").config)
    checkpoint = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1]
    learner.network.load_state_dict(torch.load(checkpoint, weights_only=True)["state"]["network"])
    obs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    greedy = load_policy(tmp_path / "run", deterministic=True)
    assert torch.equal(greedy(obs), learner.network.q(obs).argmax(-1))


def test_a_resume_with_another_capacity_is_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--total-steps", "640") == 0
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["config"]["capacity"] = 1000
    path.write_text(json.dumps(config))
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert command("resume", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert "the checkpoint's replay holds 300 transitions and this one 1000" in err
    assert err.count("\n") == 1
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"atoms": 3, "quantiles": 3}, "over atoms or by quantiles, not by both"),
        ({"atoms": 3, "v_min": 2.0, "v_max": 1.0}, "v_min, 2, must be less than v_max, 1."),
        ({"capacity": 15}, "a replay of 12 transitions is smaller than a batch of 16"),
        ({"capacity": 40, "n_step": 10}, "a replay of 40 transitions is smaller than the 68"),
        ({"learning_starts": 15}, "learning_starts must be at least 16, a batch"),
        ({"learning_starts": 20, "n_step": 6}, "learning_starts must be at least 24, num_envs"),
        ({"env": "Pendulum-v1"}, "dqn chooses among discrete actions"),
        ({"replay_ratio": 0.0}, "replay_ratio must be positive"),
        ({"huber": -1.0}, "huber must be positive"),
        ({"tau": 1.5}, "tau must be positive and at most 1.0"),
        ({"epsilon_end": -0.1}, "epsilon_end must lie between"),
        ({"n_step": 0}, "n_step must be at least 1"),
        ({"capacity": 10**15}, "GiB are free on cpu): lower capacity, "),
    ],
    ids=str,
)
def test_bad_input_is_refused(changes, sentence):
    with pytest.raises(InputError) as refused:
        dqn.train(Config(**SMALL | changes))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_line_refuses_in_one_line(tmp_path, capsys):
    assert command("train", "dqn", "Pendulum-v1", "--run-dir", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert err == "gpusim: dqn chooses among discrete actions, and Pendulum-v1 has continuous ones: use sac or ppo.\n"
    assert not (tmp_path / "run").exists()
