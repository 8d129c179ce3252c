"""One figure: environment steps per second in one mode, compiled and warmed up, over several rounds."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

import gpusim
from gpusim import checks
from gpusim.agents.parts.networks import ActorCritic
from gpusim.errors import InputError
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.vector import VectorEnv

Mode = Literal["sim", "transitions", "policy", "step", "collect", "train"]
MODES: dict[str, str] = {
    "sim": "rollout, random actions, only statistics returned",
    "transitions": "rollout, random actions, every transition returned",
    "policy": "rollout, an actor and a critic of 2x64 tanh units, every transition returned",
    "step": "env.step, actions drawn beforehand, observations and infos returned",
    "collect": "what PPO does to fill its rollout, by its own network and preset",
    "train": "PPO whole: rollout, advantages, updates, by its preset",
}
MOST_STEPS = 64
MOST_ON_CPU = 2**24  # environment steps of one call, which are seconds there
MOST_BYTES = 2**30  # returned by one call, at most


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is measured."""

    env: str = "CartPole-v1"
    num_envs: int = 65_536
    device: str = "auto"
    backend: str = "auto"
    mode: Mode = "sim"
    steps: int | None = None  # in one call; None: what `steps_for` gives
    seconds: float = 0.3  # least length of a round

    def check(self) -> None:
        """Raises InputError for what `gpusim.make` does not check itself."""
        if self.steps is not None:
            checks.positive("steps", self.steps)
        if self.mode not in MODES:
            raise InputError(f"mode {self.mode!r} is not known; use {', '.join(MODES)}.")
        if not 0 < self.seconds < math.inf:
            raise InputError(f"seconds must be a positive number, not {self.seconds}.")


class Bench(NamedTuple):
    """A measurement that has been prepared: compiled and warmed up, ready for its rounds."""

    env: VectorEnv
    call: Callable[[], Any]  # makes `work` environment steps
    work: int
    repeats: int  # calls in a round
    first_s: float  # the first call, compilation included [s]


class Rate(NamedTuple):
    """Environment steps per second over the rounds of a measurement."""

    median: float
    low: float  # of the slowest round
    high: float  # of the fastest


def prepare(point: Point) -> Bench:
    """Makes the environment, compiles it, and finds how many calls fill a round."""
    point.check()
    env, call, work = make(point)
    first_s = seconds_of(call, env.device)
    seconds_of(call, env.device)
    once = min(seconds_of(call, env.device) for _ in range(2))
    return Bench(env, call, work, max(1, math.ceil(point.seconds / once)), first_s)


def make(point: Point) -> tuple[VectorEnv, Callable[[], Any], int]:
    """The environment, the function that is timed, and the environment steps it makes."""
    if point.mode in ("collect", "train"):
        return learning(point)
    env = gpusim.make(point.env, point.num_envs, device=point.device, backend=point.backend)
    env.reset(seed=0)
    steps = point.steps or steps_for(env, point.mode)
    return env, caller(env, point.mode, steps), steps * env.num_envs


def steps_for(env: VectorEnv, mode: str) -> int:
    """Steps of a call: 64, fewer where what they return would not fit, or where a CPU would take seconds for them."""
    space = env.single_observation_space
    each = 2 * math.prod(space.shape or ()) * np.dtype(space.dtype).itemsize + 32
    limits = [MOST_STEPS]
    if env.device.type == "cpu":
        limits.append(MOST_ON_CPU // env.num_envs)
    if mode != "sim":
        limits.append(MOST_BYTES // (each * env.num_envs))
    return max(1, min(limits))


def caller(env: VectorEnv, mode: str, steps: int) -> Callable[[], Any]:
    """A function that takes `steps` steps of `env` in that mode."""
    if mode == "policy":
        policy = untrained(env)
        return lambda: env.rollout(steps, policy)
    if mode != "step":
        return lambda: env.rollout(steps, transitions=mode == "transitions")
    drawn = gpusim.make(env.task, env.num_envs, device=env.device, backend="eager")
    drawn.reset(seed=0)
    actions = drawn.rollout(steps).action
    assert actions is not None

    def step_all() -> Any:
        for action in actions:
            out = env.step(action)
        return out

    return step_all


def untrained(env: VectorEnv) -> MlpPolicy:
    """A policy with two hidden layers of 64 units, as PPO begins with.

    Raises:
        InputError: its observations are images.
    """
    observations: Any = env.single_observation_space
    if len(observations.shape or ()) != 1:
        raise InputError(f"mode policy needs a vector observation, which {env.task.id} has not: use collect.")
    network = ActorCritic(
        observations, env.single_action_space, (64, 64), "tanh", False, 0.0, torch.Generator().manual_seed(0)
    )
    network = network.to(env.device)
    shape = MlpShape.of(observations, env.single_action_space)
    flat = torch.cat([p.detach().flatten() for p in network.parameters()])
    stretch = () if network.discrete else (None, None, network.action_centre, network.action_half)
    return MlpPolicy(flat, shape, *stretch)


def learning(point: Point) -> tuple[VectorEnv, Callable[[], Any], int]:
    """PPO's iteration, or its first half, on the threads that the preset asks for."""
    from gpusim.agents.train.run import make_learner, preset

    steps = {} if point.steps is None else {"num_steps": point.steps}
    config = replace(
        preset("ppo", point.env, num_envs=point.num_envs, **steps),
        **{"device": point.device, "backend": point.backend, "total_steps": 10**12, **steps},
    )
    before = torch.get_num_threads()
    learner: Any = make_learner("ppo", config)
    torch.set_num_threads(before)
    call: Callable[[], Any] = learner.iterate
    if point.mode == "collect":
        call = learner.fused.collect if learner.fused else lambda: learner.collect(config.num_steps)
    return learner.env, on_threads(config.threads or before, call), config.steps_per_iteration


def on_threads(threads: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call` on so many CPU threads of torch, which then has as many again as before."""

    def within() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return call()
        finally:
            torch.set_num_threads(before)

    return within


def measure(ready: Bench) -> float:
    """One round: environment steps per second."""

    def calls() -> None:
        for _ in range(ready.repeats):
            ready.call()

    return ready.work * ready.repeats / seconds_of(calls, ready.env.device)


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """How long a call takes until the device has finished [s]."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summarize(rates: list[float]) -> Rate:
    return Rate(statistics.median(rates), min(rates), max(rates))


def ratio(ours: list[float], theirs: list[float], draws: int = 10_000) -> dict[str, float]:
    """Ratio of the medians of rounds that were taken in turn, with a 95 % bootstrap interval over the rounds."""
    a, b = np.array(ours), np.array(theirs)
    pick = np.random.default_rng(0).integers(len(a), size=(draws, len(a)))
    drawn = np.median(a[pick], axis=1) / np.median(b[pick], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"median": float(np.median(a) / np.median(b)), "low": float(low), "high": float(high)}
