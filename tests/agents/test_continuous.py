"""SAC and TD3: losses by hand, the probe environments, what a graph would hold, a resume that ends where it should."""

import math
from dataclasses import replace

import pytest
import torch
from gymnasium.spaces import Box
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

import gpusim
from gpusim.agents import load_policy, sac, td3
from gpusim.agents.continuous import Lasting, critic_loss
from gpusim.agents.parts.finite import Watch
from gpusim.agents.parts.values import Mean
from gpusim.agents.train.evaluate import evaluate
from gpusim.agents.train.run import RunFolder, make_learner, preset
from gpusim.errors import InputError
from gpusim.kernels.distributions import NoisyAction, SquashedGaussian
from gpusim.kernels.launch import recording
from gpusim.sim.functional import SyncFree
from tests.agents.probes import Continuous as Probes
from tests.agents.test_run import assert_same_end, readings
from tests.agents.test_run import gpusim as command

LEARNERS = {"sac": sac, "td3": td3}
each_learner = pytest.mark.parametrize("name", LEARNERS)


def t(*values):
    return torch.tensor(values)


# ---------------------------------------------------------------------------------------------------- distributions


def test_a_squashed_log_probability_by_hand():
    """u = 0: −½ log 2π. u = 1: that, −½, and −log (1 − tanh² 1) = −log 0.41997434."""
    action, log_prob = SquashedGaussian(torch.zeros(2, 1), torch.zeros(2, 1)).drawn(t([0.0], [1.0]))
    assert action.flatten().tolist() == pytest.approx([0.0, 0.7615942])
    assert log_prob.tolist() == pytest.approx([-0.9189385, -0.9189385 - 0.5 - math.log(0.41997434)])


@pytest.mark.parametrize("u", [9.5, 20.0, 80.0, -20.0, -80.0])
def test_at_the_edges_it_is_finite_and_right(u):
    """There 1 − tanh² u is 4 e^(−2|u|), and tanh u rounds to ±1; each further unit of the mean adds two."""
    mean = t([u]).requires_grad_()
    action, log_prob = SquashedGaussian(mean, torch.full((1, 1), -1.0)).drawn(torch.zeros(1, 1))
    assert action.item() == math.copysign(1.0, u)
    assert log_prob.item() == pytest.approx(-0.9189385 + 1.0 - math.log(4) + 2 * abs(u), rel=1e-6)
    log_prob.sum().backward()
    assert mean.grad.item() == math.copysign(2.0, u)


def test_squashed_densities_add_up_to_one():
    """∫ π(a) da over (−1, 1), by the middle of a hundred thousand pieces."""
    a = (torch.arange(100_000).double() + 0.5) / 50_000 - 1
    for mean, log_std in ((0.0, 0.0), (0.8, -1.0), (-1.5, 0.4)):
        noise = (a.atanh() - mean) / math.exp(log_std)
        mean, log_std = (torch.full((100_000, 1), x, dtype=torch.float64) for x in (mean, log_std))
        drawn, log_prob = SquashedGaussian(mean, log_std).drawn(noise.unsqueeze(-1))
        torch.testing.assert_close(drawn.squeeze(-1), a)
        assert log_prob.exp().mean().item() * 2 == pytest.approx(1.0, abs=1e-3)


def test_squashed_against_torch():
    draw = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(50, 3, generator=draw).double() for _ in range(3))
    normal = torch.distributions.Normal(mean, log_std.exp())
    theirs = torch.distributions.TransformedDistribution(normal, torch.distributions.transforms.TanhTransform())
    ours = SquashedGaussian(mean, log_std)
    action, log_prob = ours.drawn(noise)
    torch.testing.assert_close(log_prob, theirs.log_prob(action).sum(-1), rtol=1e-5, atol=1e-5)
    assert torch.equal(ours.at(noise), action)
    assert torch.equal(ours.mode(), mean.tanh())
    assert ours.sample(draw).shape == (50, 3)


def test_noise_is_added_and_clipped():
    noisy = NoisyAction(t([0.5, -0.9]), torch.tensor(0.2))
    torch.testing.assert_close(noisy.at(t([1.0, -3.0])), t([0.7, -1.0]))
    assert torch.equal(noisy.mode(), t([0.5, -0.9]))
    many = NoisyAction(torch.zeros(50_000, 1), torch.tensor(0.2)).sample(torch.Generator().manual_seed(0))
    assert many.std().item() == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize("chance", [0.0, 0.75])
def test_noise_lasts_and_is_normal_at_every_step(chance):
    lasting, draw = Lasting(20_000, 2, chance), torch.Generator().manual_seed(0)
    steps = torch.stack([lasting(draw).clone() for _ in range(6)])
    for noise in steps:
        assert noise.mean().item() == pytest.approx(0.0, abs=0.03)
        assert noise.std().item() == pytest.approx(1.0, abs=0.03)
    same = (steps[1:] == steps[:-1]).float()
    assert same.mean().item() == pytest.approx(chance, abs=0.01)
    assert torch.equal(same[..., 0], same[..., 1])  # an action's numbers together


# ------------------------------------------------------------------------------------------------------------ losses


def test_critic_loss_by_hand():
    """Errors 1, 2 and 2, −1: ½ (1 + 4) and ½ (4 + 1) in the two rows."""
    out, target = t([[1.0], [2.0]], [[0.0], [5.0]]), t([2.0], [4.0])
    losses = critic_loss(Mean(), out, target)
    assert losses.total.item() == 2.5
    assert losses.q.item() == 2.0
    assert losses.error.tolist() == [1.5, 0.5]
    assert critic_loss(Mean(), out, target, t(1.0, 0.2)).total.item() == pytest.approx(1.5)


def test_sac_target_by_hand():
    """1 + ½ (min(3, 4) − 0.1 · −2) = 2.6; nothing follows a termination."""
    out = t([[3.0], [9.0]], [[4.0], [9.0]])
    target = sac.soft_target(Mean(), t(1.0, 1.0), t(0.5, 0.0), out, t(-2.0, -2.0), torch.tensor(0.1))
    torch.testing.assert_close(target, t([2.6], [1.0]))


def test_sac_actor_loss_by_hand():
    """½ · −1 − 1 and ½ · 2 − 0."""
    assert sac.actor_loss(t([1.0, 2.0], [3.0, 0.0]), t(-1.0, 2.0), torch.tensor(0.5)).item() == -0.25


def test_the_temperature_falls_where_there_is_more_entropy_than_wanted():
    """Entropy 2, wanted −1: 3 too much."""
    log = torch.zeros(1, requires_grad=True)
    sac.temperature_loss(log, t(-1.0, -3.0), -1.0).backward()
    assert log.grad.item() == 3.0
    log.grad = None
    sac.temperature_loss(log, t(4.0, 4.0), -1.0).backward()
    assert log.grad.item() == -3.0


def test_td3_smoothing_by_hand():
    found = td3.smoothed(t(0.5, 0.9, -0.9, 0.0), t(1.0, 10.0, -10.0, -10.0), 0.2, 0.5)
    torch.testing.assert_close(found, t(0.7, 1.0, -1.0, -0.5))


def test_td3_actor_loss_by_hand():
    assert td3.actor_loss(t([1.0, 2.0], [9.0, 9.0])).item() == -1.5


# -------------------------------------------------------------------------------------------------- acting and updates

PLAIN = gpusim.register(replace(gpusim.spec("Pendulum-v1"), id="PlainPendulum-v1"))  # without a preset
SMALL = {"env": PLAIN.id, "num_envs": 4, "num_steps": 8, "total_steps": 640, "learning_starts": 64, "replay_ratio": 0.1}
SMALL |= {"batch_size": 16, "capacity": 256, "hidden": (8,), "device": "cpu", "log_every": 1}


def learner_of(name, **changes):
    return make_learner(name, LEARNERS[name].Config(**SMALL | changes))


@each_learner
def test_actions_are_stretched_to_the_range_and_kept_as_they_were_meant(name):
    """Pendulum's torque is in [−2, 2]; the replay has it in [−1, 1]."""
    learner = learner_of(name)
    rollout = learner.env.rollout(50, learner._policy)
    torch.testing.assert_close(rollout.action, 2 * rollout.extras["sample"])
    learner.iterate()
    assert learner.replay.action[:32].abs().max() <= 1.0
    assert learner.replay.action[:32].abs().max() > 0.5


@each_learner
def test_it_acts_uniformly_at_random_before_it_learns(name):
    learner = learner_of(name, learning_starts=128)
    assert learner.config.first() == 3
    with torch.no_grad():
        learner.network.actor[-1].weight.zero_()
        learner.network.actor[-1].bias.fill_(-3.0)  # a policy to be told from chance
    seen = []
    for _ in range(4):
        learner.iterate()
        seen.append(learner.replay.action[len(seen) * 32 :][:32].clone())
    seen = torch.stack(seen)
    assert seen.mean().item() == pytest.approx(0.0, abs=0.2)
    assert seen.abs().mean().item() == pytest.approx(0.5, abs=0.1)
    learner.schedule()
    assert not learner.random
    assert learner._policy(learner.env.observe())[1]["sample"].mean() < -0.7


def test_at_random_means_uniformly():
    learner = learner_of("sac", num_envs=500, num_steps=1, capacity=8000, learning_starts=8000)
    drawn = torch.cat([learner._policy(learner.env.observe())[1]["sample"] for _ in range(8)])
    shares = torch.histc(drawn, 8, -1.0, 1.0) / 4000
    torch.testing.assert_close(shares, torch.full((8,), 0.125), atol=0.02, rtol=0)


def test_td3_explores_by_more_noise_from_environment_to_environment():
    learner = learner_of("td3", noise=0.4, least_noise=0.1)
    assert learner.deviation.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert learner_of("td3", noise=0.3).deviation.flatten().tolist() == pytest.approx([0.3] * 4)


@pytest.mark.parametrize(("name", "every"), [("sac", 1), ("sac", 3), ("td3", 2), ("td3", 3)])
def test_the_policy_is_updated_at_every_so_manieth_update(name, every):
    """From the first on, over the borders of iterations: of 5, 2, 3, 2 ... updates."""
    learner = learner_of(name, policy_every=every, replay_ratio=0.08)
    made = []
    for _ in range(12):
        learner.iterate()
        made.append((int(learner.optimizers["critic"].steps), int(learner.optimizers["actor"].steps)))
    assert made[-1][0] > 20
    assert [actor for _, actor in made] == [-(-critic // every) for critic, _ in made]


@each_learner
def test_the_targets_follow(name):
    learner = learner_of(name, policy_every=1, replay_ratio=0.03125, tau=0.25)  # one update in an iteration
    parts = ("critic",) if name == "sac" else ("critic", "actor")
    for _ in range(4):
        before = {k: [p.clone() for p in getattr(learner.target, k).parameters()] for k in parts}
        learner.iterate()
    for k in parts:
        target, trained = getattr(learner.target, k).parameters(), getattr(learner.network, k).parameters()
        for old, new, ours in zip(before[k], target, trained, strict=True):
            torch.testing.assert_close(new, old + 0.25 * (ours - old))
            assert not torch.equal(new, old)


def test_the_temperature_keeps_the_policy_at_its_entropy():
    """Where one action is best, less would be better; the uniform policy that it begins near has 0.69."""
    changes = {"env": Probes.AIMED.id, "total_steps": 8_000, "capacity": 8_000, "learning_starts": 512, "hidden": (16,)}
    changes |= {"learning_rate": 5e-3, "temperature": 0.1, "target_entropy": -0.5}
    result = sac.train(sac.Config(**SMALL | changes))
    assert result.metrics[30]["entropy"] > 0.3
    late = [m["entropy"] for m in result.metrics[-50:]]
    assert sum(late) / len(late) == pytest.approx(-0.5, abs=0.25)


# ------------------------------------------------------------------------------------------------------- in a graph

KINDS = {
    "plain": {},
    "all": {"n_step": 3, "prioritized": True, "normalize_obs": True, "anneal": True, "layer_norm": True, "repeat": 0.5},
    "C51": {"atoms": 11, "v_min": -5.0, "v_max": 5.0, "normalize_reward": True},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


def noted(self, rollout, iteration):
    """`Watch.look` as on a GPU."""
    done = rollout.terminated | rollout.truncated
    self.note(rollout.obs, rollout.next_obs, rollout.reward, rollout.episode_length, done)


@each_kind
@each_learner
def test_an_iteration_looks_at_no_value(name, changes, monkeypatch):
    """Fake tensors have none: waiting for a value, or a shape that depends on data, would raise."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr(torch.nn.utils, "skip_init", lambda kind, *sizes: kind(*sizes))  # these two swap tensors,
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, _: module)  # which fake ones cannot
    monkeypatch.setattr(Watch, "look", noted)
    with FakeTensorMode(), recording() as launches:
        learner = learner_of(name, backend="triton", replay_ratio=0.04, **changes)
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
    assert {key[0] for key in learner.graphed.captured} == {0, 1, 2} == set(counts)
    assert {len(key) for key in learner.graphed.captured} == {1 if name == "sac" else 2}
    names = [launch.kernel.fn.__name__ for launch in launches]
    assert names.count("insert_kernel") == 6
    prioritized = learner.config.prioritized
    assert names.count("sample_kernel") == (sum(counts) if prioritized else sum(n > 0 for n in counts))
    assert names.count("draw_kernel") == names.count("update_kernel") == sum(counts) * prioritized


@each_learner
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_hidden_layers_multiply_in_16_bits_and_the_last_in_32(name, precision, dtype):
    learner = learner_of(name, precision=precision)
    seen = []
    for layers in (learner.network.critic.layers, learner.network.actor):
        for layer in (layers[0], layers[-1]):
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    learner.network.q(torch.zeros(4, 3), torch.zeros(4, 1))
    learner.network.acted(torch.zeros(4, 3))
    assert seen[-4:] == [dtype, torch.float32] * 2
    metrics = learner.iterate()
    assert ("loss_scale" in metrics) == (precision == "fp16")
    scaled = {name for name, optimizer in learner.optimizers.items() if optimizer.scale}
    assert scaled == ({"critic", "actor"} if precision == "fp16" else set())


def on_tensors(name, **changes):
    """A learner whose environments step by torch, as on a GPU: on the CPU they do by NumPy."""
    learner = learner_of(name, backend="eager", **changes)
    env = learner.env
    env._make_stepper = lambda: SyncFree(env.task, env._mode(), env.index, False)
    env.reset(seed=learner.config.seed)
    return learner


def addresses(learner):
    """Where all lies that lasts from one iteration to the next."""
    buffers = [b for module in learner.modules().values() for b in (*module.buffers(), *module.parameters())]
    return [x.data_ptr() for x in (*buffers, *learner.weights(), learner.metrics, learner.beta, learner.random)]


@each_kind
@each_learner
def test_what_a_graph_would_hold_does_the_same(name, changes):
    """A captured function reads its numbers from tensors; the rate is one that float32 has, so nothing may differ."""
    changes = changes | {"learning_rate": 2.0**-9, "anneal": False, "total_steps": 32 * 8}
    plain, captured = on_tensors(name, **changes), on_tensors(name, **changes)
    captured.graphed.wanted = True
    where = addresses(captured)
    for _ in range(8):
        for (metric, one), other in zip(plain.iterate().items(), captured.iterate().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=metric)
    for one, other in zip(plain.weights(), captured.weights(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(plain.replay.action, captured.replay.action)
    assert plain.env.clock == captured.env.clock
    assert addresses(captured) == where  # of which a graph knows no other


# ---------------------------------------------------------------------------------------------------------- probes

QUICK = {"num_envs": 32, "num_steps": 4, "total_steps": 8_000, "hidden": (16,), "device": "cpu", "seed": 1}
QUICK |= {"learning_rate": 1e-2, "gamma": 0.5, "batch_size": 64, "learning_starts": 256, "capacity": 4096}
QUICK |= {"replay_ratio": 0.05, "tau": 0.1, "anneal": True, "activation": "tanh"}
OWN = {"sac": {"temperature": 1e-3}, "td3": {}}
VARIANTS = {
    "plain": {},
    "n_step": {"n_step": 3},
    "prioritized": {"prioritized": True},
    "C51": {"atoms": 21, "v_min": -3.0, "v_max": 3.0},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "all": {
        "n_step": 2,
        "prioritized": True,
        "normalize_obs": True,
        "layer_norm": True,
        "repeat": 0.3,
        "policy_every": 2,
    },
}
EACH = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def network(name, env, changes):
    settings = QUICK | OWN[name] | changes
    return LEARNERS[name].train(LEARNERS[name].Config(env=env.id, **settings)).learner.network


def worth(network, *observations):
    return network.value(torch.tensor(observations).unsqueeze(-1)).tolist()


def mode(network, *observations):
    return network.act(torch.tensor(observations).unsqueeze(-1), None).flatten().tolist()


@EACH
@each_learner
def test_a_constant_reward_is_the_value(name, changes):
    assert worth(network(name, Probes.CONSTANT, changes), 0.0) == pytest.approx([1.0], abs=0.05)


@EACH
@each_learner
def test_the_value_depends_on_the_observation(name, changes):
    assert worth(network(name, Probes.SEEN, changes), 1.0, -1.0) == pytest.approx([1.0, -1.0], abs=0.1)


@EACH
@each_learner
def test_a_later_reward_is_discounted(name, changes):
    assert worth(network(name, Probes.DELAYED, changes), 0.0, 1.0) == pytest.approx([0.5, 1.0], abs=0.1)


@EACH
@each_learner
def test_a_truncated_episode_bootstraps(name, changes):
    """A reward of 1 for ever is worth 1 / (1 - 0.5); an ending at the time limit would give 1 to 1.97."""
    assert worth(network(name, Probes.ENDLESS, changes), 0.0) == pytest.approx([2.0], abs=0.05)


# The critics are to know how rewards bend before the policy has gone to an end of its range, where tanh has no slope.
PATIENT = {"learning_rate": 3e-3, "learning_starts": 2048, "capacity": 8192, "replay_ratio": 0.3, "anneal": False}
PATIENT |= {"policy_every": 6, "hidden": (32,), "activation": "relu", "v_min": -2.3, "v_max": 0.2}


@EACH
@each_learner
def test_the_action_follows_the_observation(name, changes):
    assert mode(network(name, Probes.FOLLOWED, changes | PATIENT), 1.0, -1.0) == pytest.approx([0.5, -0.5], abs=0.15)


@each_learner
def test_the_action_is_aimed(name):
    assert mode(network(name, Probes.AIMED, PATIENT), 0.0) == pytest.approx([0.5], abs=0.1)


# --------------------------------------------------------------------------------------------------------- a game


@pytest.mark.slow
@each_learner
@pytest.mark.parametrize(("env", "asked"), [("Pendulum-v1", -200), ("MountainCarContinuous-v0", 90)])
def test_the_preset_learns(name, env, asked):
    learner = LEARNERS[name].train(preset(name, env, device="cpu")).learner
    scores = evaluate(lambda obs: learner.network.act(obs, None), env, 100, 10_000, "cpu")
    assert scores.mean() >= asked


# ---------------------------------------------------------------------------------------------------------- resume

ARGS = ["--num-envs", "4", "--num-steps", "8", "--total-steps", "1280", "--checkpoint-every", "10", "--capacity", "300"]
ARGS += [
    "--learning-starts",
    "64",
    "--batch-size",
    "16",
    "--replay-ratio",
    "0.3",
    "--hidden",
    "8",
    "8",
    "--log-every",
    "4",
]
ALL = ["--prioritized", "--n-step", "3", "--normalize-obs", "--normalize-reward", "--repeat", "0.5", "--atoms", "11"]
ALL += ["--policy-every", "3", "--layer-norm"]


def train(name, folder, *extra):
    return command("train", name, "Pendulum-v1", *ARGS, "--run-dir", folder, *extra)


@each_learner
@pytest.mark.parametrize("extra", [[], ALL], ids=["plain", "all"])
def test_a_resumed_run_ends_bit_for_bit_like_the_unbroken_one(name, extra, tmp_path):
    for run in ("whole", "broken"):
        assert train(name, tmp_path / run, *extra) == 0
    for checkpoint in sorted((tmp_path / "broken" / "checkpoints").glob("*.pt"))[1:]:
        checkpoint.unlink()
    assert command("resume", tmp_path / "broken") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "broken")
    assert readings(tmp_path / "whole") == readings(tmp_path / "broken")


@each_learner
def test_a_run_is_evaluated_filmed_and_drawn(name, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(name, run) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("memory: replay 10.0 KiB, rollout ")
    assert command("eval", run, "--episodes", "5") == 0
    assert "over 5 episodes" in capsys.readouterr().out
    assert command("eval", run, "--episodes", "2", "--oracle") == 0
    assert command("plot", run, "--trajectory", "--out", tmp_path / "drawn.png") == 0
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
    learner = make_learner(name, RunFolder.open(run).config)
    checkpoint = sorted((run / "checkpoints").glob("*.pt"))[-1]
    learner.network.load_state_dict(torch.load(checkpoint, weights_only=True)["state"]["network"])
    obs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    greedy, drawn = load_policy(run, deterministic=True), load_policy(run)
    with torch.no_grad():
        assert torch.equal(greedy(obs), 2 * learner.network.distribution(obs).mode())
    assert greedy(obs).abs().max() <= 2.0
    assert not torch.equal(drawn(obs), greedy(obs))


@each_learner
def test_a_run_is_filmed(name, tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    assert train(name, tmp_path / "run", "--total-steps", "128") == 0
    film = tmp_path / "film.mp4"
    assert command("eval", tmp_path / "run", "--episodes", "1", "--video", film) == 0
    assert film.stat().st_size > 10_000


# ------------------------------------------------------------------------------------------------------- bad input


@each_learner
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"env": "CartPole-v1"}, "sets continuous actions, and CartPole-v1 has discrete ones: use dqn or ppo."),
        ({"network": "cnn"}, "network cnn is for images"),
        ({"capacity": 15}, "a replay of 12 transitions is smaller than a batch of 16"),
        ({"capacity": 40, "n_step": 10}, "a replay of 40 transitions is smaller than the 68"),
        ({"learning_starts": 15}, "learning_starts must be at least 16, a batch"),
        ({"learning_starts": 20, "n_step": 6}, "learning_starts must be at least 24, num_envs"),
        ({"atoms": 5, "v_min": 1.0, "v_max": 1.0}, "v_min, 1, must be less than v_max, 1."),
        ({"atoms": 0}, "atoms must be at least 1"),
        ({"policy_every": 0}, "policy_every must be at least 1"),
        ({"repeat": 1.5}, "repeat must lie between"),
        ({"tau": 0.0}, "tau must be positive and at most 1.0"),
        ({"precision": "fp8"}, "precision must be"),
        ({"capacity": 10**15}, "GiB are free on cpu): lower capacity, "),
    ],
    ids=str,
)
def test_bad_input_is_refused(name, changes, sentence):
    with pytest.raises(InputError) as refused:
        LEARNERS[name].train(LEARNERS[name].Config(**SMALL | changes))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@each_learner
@pytest.mark.parametrize("high", [float("inf"), 3e38])
def test_actions_without_bounds_are_refused(name, high):
    space = Box(-high, high, (1,))
    task = replace(gpusim.spec("Pendulum-v1"), id=f"Unbounded{high:g}-v0", action_space=space)
    with pytest.raises(InputError, match=r"have no bounds that learners could stretch theirs to.* as Box\(-1, 1"):
        LEARNERS[name].train(LEARNERS[name].Config(**SMALL | {"env": task}))


@each_learner
def test_the_command_line_refuses_in_one_line(name, tmp_path, capsys):
    assert command("train", name, "CartPole-v1", "--run-dir", tmp_path / "run") == 2
    err = capsys.readouterr().err
    assert err == f"gpusim: {name} sets continuous actions, and CartPole-v1 has discrete ones: use dqn or ppo.\n"
    assert not (tmp_path / "run").exists()
