"""Nothing in a step, a rollout or an iteration has the host wait for a GPU; and the host has little to do for each.

tests/gpu/test_no_sync.py runs the real thing.
"""

import pytest
import torch

import gpusim
from gpusim import wrappers
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce, sac, td3
from gpusim.agents.train.loop import Reading
from gpusim.envs.classic import CLASSIC
from gpusim.envs.minatar import MINATAR
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.policy import begin_anew
from tests.agents.test_recurrent import remembering
from tests.fake_gpu import GPU, Waited, fake_gpu

pytest.importorskip("triton", reason="Triton is not installed")
CLASSIC = [env.id for env in CLASSIC]
BOARDS = [env.id for env in MINATAR if env.id.endswith("-v1")]  # v0 have their kernels
MODES = ("same_step", "next_step", "disabled")


@pytest.fixture
def gpu(monkeypatch):
    with fake_gpu(monkeypatch) as (made, launches):
        made.launches = launches
        yield made


def ready(env, num_envs=6, **settings):
    made = gpusim.make(env, num_envs, device="cuda", **settings)
    made.reset(seed=0)
    return made


def action(env):
    return env.rollout(1).action[0].clone()


def go_on(gpu, env, given):
    """Everything that is done again and again, the first time included."""
    with gpu.busy():
        env.step(given)
        env.rollout(2)
        env.rollout(1, transitions=False)
        env.rollout(2, lambda obs: given)
        env.rollout(1, lambda obs: given, transitions=False)
        env.rollout(2, Counts(given))
        env.rollout(1, Counts(given), transitions=False)


class Counts:
    """Remembers how long an episode has lasted."""

    def __init__(self, given):
        self.given = given

    def initial_state(self, num_envs, device):
        return torch.zeros(num_envs, device=device)

    def act(self, obs, state, begun):
        return self.given, {}, begin_anew(state, torch.zeros_like(state), begun) + 1.0


@pytest.mark.parametrize("env", CLASSIC)
def test_classic_environments(gpu, env):
    eager = ready(env, backend="eager")
    given = action(eager)
    go_on(gpu, eager, given)
    for mode in MODES:
        go_on(gpu, ready(env, backend="triton", autoreset_mode=mode), given)
    name = gpusim.spec(env).params._fields[0]
    go_on(gpu, ready(env, backend="triton", params={name: gpusim.Uniform(1.0, 2.0)}), given)
    go_on(gpu, ready(env, backend="triton", params={name: torch.ones(6, device=GPU)}, copy=False), given)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_by_torch(gpu, mode):
    env = ready("CartPole-v1", backend="eager", autoreset_mode=mode, params={"gravity": gpusim.Uniform(1.0, 2.0)})
    given = torch.zeros(6, dtype=torch.int64, device=GPU)
    with gpu.busy():
        env.step(given)
        env.rollout(1, transitions=False)


@pytest.mark.parametrize("env", BOARDS)
def test_boards(gpu, env):
    given = torch.zeros(6, dtype=torch.int64, device=GPU)
    for mode in MODES:
        go_on(gpu, ready(env, backend="triton", autoreset_mode=mode), given)
    eager = ready(env, backend="eager")
    with gpu.busy():
        eager.step(given)


@pytest.mark.parametrize("backend", ["eager", "triton"])
def test_a_policy_that_kernels_hold(gpu, backend):
    for name in ("CartPole-v1", "Pendulum-v1"):
        env = ready(name, backend=backend)
        shape = MlpShape.of(env.single_observation_space, env.single_action_space, (8, 8), "tanh")
        flat, numbers = torch.zeros(shape.size, device=GPU), torch.zeros(1, device=GPU)
        policy = MlpPolicy(flat, shape, None, None, *((numbers, numbers) if shape.gaussian else (None, None)))
        with gpu.busy():
            env.rollout(3, policy)
            env.rollout(3, policy, transitions=False)


WRAPPED = {
    "ClipAction": ("Pendulum-v1", wrappers.ClipAction),
    "RescaleAction": ("Pendulum-v1", lambda env: wrappers.RescaleAction(env, -1.0, 1.0)),
    "FrameStackObservation": ("MinAtar/Breakout-v1", lambda env: wrappers.FrameStackObservation(env, 3)),
    "NormalizeObservation": ("Pendulum-v1", wrappers.NormalizeObservation),
    "NormalizeReward": ("Pendulum-v1", wrappers.NormalizeReward),
    "RecordEpisodeStatistics": ("CartPole-v1", wrappers.RecordEpisodeStatistics),
    "TimeLimit": ("CartPole-v1", lambda env: wrappers.TimeLimit(env, 9)),
    "TransformObservation": ("CartPole-v1", lambda env: wrappers.TransformObservation(env, torch.neg)),
    "TransformReward": ("CartPole-v1", lambda env: wrappers.TransformReward(env, torch.sign)),
    "RecordVideo": None,  # it waits at every step, and says so
}


def test_no_wrapper_is_forgotten():
    kinds = {
        name for name, kind in vars(wrappers).items() if isinstance(kind, type) and issubclass(kind, wrappers.Wrapper)
    }
    assert kinds - {"Wrapper"} == set(WRAPPED)


@pytest.mark.parametrize("name", [name for name, made in WRAPPED.items() if made])
def test_wrappers(gpu, name):
    env, wrap = WRAPPED[name]
    wrapped = wrap(gpusim.make(env, 6, device="cuda", backend="triton"))
    wrapped.reset(seed=0)
    given = torch.zeros(6, 1, device=GPU) if env == "Pendulum-v1" else torch.zeros(6, dtype=torch.int64, device=GPU)
    with gpu.busy():
        wrapped.step(given)
        if name != "ClipAction":  # whose actions have no bounds
            wrapped.rollout(2)
        wrapped.rollout(2, lambda obs: given)
        wrapped.rollout(2, lambda obs: given, transitions=False)
        wrapped.rollout(2, Counts(given))


SMALL = {"num_envs": 6, "device": "cuda", "total_steps": 10**6, "hidden": (16, 16)}
WHOLE = {"num_steps": 2, "epochs": 1, "minibatches": 2, "normalize_obs": True, "normalize_reward": True}
DRAWN = {"num_steps": 4, "n_step": 1, "learning_starts": 24, "batch_size": 8, "capacity": 600}
EVERYTHING = {
    "dueling": True,
    "n_step": 3,
    "prioritized": True,
    "normalize_obs": True,
    "normalize_reward": True,
    "repeat": 0.5,
}
SETTLED = {name: x for name, x in EVERYTHING.items() if name != "dueling"}
SETTLED |= {"atoms": 11, "layer_norm": True, "policy_every": 2, "replay_ratio": 0.2}
ACTIONS = {"CartPole-v1": ("dqn", "pqn"), "Pendulum-v1": ("sac", "td3")}
LEARNERS = {
    "ppo": (ppo.PPO, ppo.Config, WHOLE),
    "ppo, three layers": (ppo.PPO, ppo.Config, WHOLE | {"hidden": (8, 8, 8), "clip_value": True}),
    "ppo, gru": (ppo.PPO, ppo.Config, WHOLE | {"hidden": (8,), "network": "gru", "memory_units": 8}),
    "ppo, in parts": (ppo.PPO, ppo.Config, WHOLE | {"hidden": (8, 8, 8), "accumulate": 3}),
    "a2c": (a2c.A2C, a2c.Config, {"num_steps": 4}),
    "a2c, in parts": (a2c.A2C, a2c.Config, {"num_steps": 4, "accumulate": 2, "network": "lstm", "hidden": (8,)}),
    "pqn, mingru": (pqn.PQN, pqn.Config, {"num_steps": 4, "minibatches": 2, "network": "mingru", "hidden": (8,)}),
    "pqn": (pqn.PQN, pqn.Config, {"num_steps": 4, "minibatches": 2}),
    "dqn": (dqn.DQN, dqn.Config, DRAWN),
    "dqn, everything": (dqn.DQN, dqn.Config, DRAWN | EVERYTHING),
    "reinforce": (reinforce.Reinforce, reinforce.Config, {"episode_steps": 4}),
    "sac": (sac.SAC, sac.Config, DRAWN | {"replay_ratio": 0.2}),
    "sac, everything": (sac.SAC, sac.Config, DRAWN | SETTLED),
    "td3": (td3.TD3, td3.Config, DRAWN | {"replay_ratio": 0.2}),
    "td3, everything": (td3.TD3, td3.Config, DRAWN | SETTLED),
}


@pytest.mark.filterwarnings("ignore:PPO runs on torch operations")
@pytest.mark.parametrize("backend", ["eager", "triton"])
@pytest.mark.parametrize("name", list(LEARNERS))
def test_learners(gpu, name, backend):
    kind, config, settings = LEARNERS[name]
    envs = [e for e, those in ACTIONS.items() if name[:3] in those or name[:3] in ("ppo", "a2c", "rei")]
    for env in envs:
        learner = kind(config(env=env, backend=backend, **(SMALL | settings)))
        with gpu.busy():
            for _ in range(2):
                losses = learner.iterate()
            Reading(learner, losses, 0.0)


@pytest.mark.filterwarnings("ignore:PPO runs on torch operations")
@pytest.mark.parametrize("backend", ["eager", "triton"])
@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_learners_that_remember(gpu, name, backend):
    kind, config, settings = LEARNERS[name]
    settings = settings | {"normalize_obs": False}
    learner = remembering(kind)(config(env="CartPole-v1", backend=backend, **(SMALL | settings)))
    with gpu.busy():
        for _ in range(2):
            losses = learner.iterate()
        Reading(learner, losses, 0.0)


def test_what_is_looked_for_is_found(gpu):
    env = ready("CartPole-v1", backend="triton")
    with gpu.busy():
        for wait in (
            lambda: torch.tensor([1.0], device=GPU),
            lambda: env.index.cpu(),
            lambda: env.index.copy_(torch.ones(6)),
        ):
            with pytest.raises(Waited):
                wait()
        for look in (lambda: env.index[0].item(), lambda: bool(env.index.any()), lambda: env.index.nonzero()):
            with pytest.raises((RuntimeError, NotImplementedError)):
                look()
        env.index.to("cpu", non_blocking=True)


VIEWS = {"detach", "expand", "t", "transpose", "unbind", "view", "_unsafe_view", "alias", "select"}


def told(gpu, function):
    """How many kernels are launched by `function`, and how many operations there are beside: memory, and those of torch."""
    function()
    gpu.operations.clear()
    gpu.launches.clear()
    function()
    made = [name for name in gpu.operations if name.startswith("empty")]
    return len(gpu.launches), len(made), [x for x in gpu.operations if x not in made and x not in VIEWS]


def test_the_host_has_little_to_do(gpu):
    """Each launch is some 5 µs of the host's time, so that what creeps in here is what a GPU waits for."""
    env = ready("CartPole-v1", backend="triton")
    given = action(env)
    for length in (1, 16, 1000):
        assert told(gpu, lambda length=length: env.rollout(length)) == (1, 17, ["sum"])
        assert told(gpu, lambda length=length: env.rollout(length, transitions=False)) == (1, 9, ["sum"])
    assert told(gpu, lambda: env.step(given)) == (1, 17, ["clone"])


def test_an_iteration_asks_for_little_beside_its_graph(gpu):
    config = ppo.Config(env="CartPole-v1", backend="triton", num_steps=4, minibatches=2, **SMALL)
    learner = ppo.PPO(config)
    learner.fused.captured = lambda: None  # stands for the graph's replay, one call
    mode = learner.env._mode
    learner.env._mode = lambda: pytest.fail(
        "what the environment's step is made of is not looked up at every iteration"
    )
    learner.env.hold(learner.fused.pin)
    launches, memory, operations = told(gpu, learner.iterate)
    assert (launches, memory) == (0, 0)
    assert sorted(operations) == ["clone", "clone", "fill_", "fill_", "fill_"]
    learner.env._mode = mode
