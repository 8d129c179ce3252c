"""Trajectories by name, small enough to be taken in seconds: what is compared with `trajectories.json`.

A case gives a tree of tensors. Of random actions, of a policy inside or beside the step, step by step with masked resets,
without transitions, through wrappers, and on the host.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from gymnasium.spaces import Discrete

import gpusim
from gpusim import Uniform
from gpusim.adapters import from_gymnasium
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.driving.highway_fast import HIGHWAY_FAST
from gpusim.envs.driving.parking import PARKING
from gpusim.envs.minatar import ALL_ACTIONS, GAMES
from gpusim.envs.minatar.breakout import BREAKOUT
from gpusim.envs.mujoco import MUJOCO
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.wrappers import (
    FrameStackObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
    TransformReward,
)
from tests.envs.toys import DRIFT, DUSK, LOWERED, SWARM, TOY

MODES = ("same_step", "next_step", "disabled")
SEED, LIMIT = 7, 15  # episodes are truncated too
RANDOM = {
    "CartPole-v1": {"gravity": Uniform(5.0, 20.0), "force": Uniform(5.0, 9.0)},
    "Drift-v0": {"edge": Uniform(0.6, 1.0)},
    "Dusk-v0": {"fade": Uniform(0.1, 0.2)},
}
Case = Callable[[], Any]


def of_eager() -> Iterator[tuple[str, Case]]:
    for mode in MODES:
        for env in (*CLASSIC, *GAMES, TOY, *LOWERED):
            yield from _all_ways(env, mode, 64, 40, "eager")
        for env in (CARTPOLE, DRIFT, DUSK):
            yield f"eager {env.id} {mode} drawn parameters", partial(_drawn, env, mode, 64, 40, "eager")
        for name in WRAPPED:
            yield f"eager wrapped {name} {mode}", partial(_wrapped, name, mode)
    for env in ALL_ACTIONS:
        yield f"eager {env.id}", partial(_kept, env, "same_step", 64, 40, "eager")
    for env in (*MUJOCO, HIGHWAY_FAST, PARKING):
        yield f"eager {env.id}", partial(_kept, env, "same_step", 8, 6, "eager")
    yield "host", _host


def of_native() -> Iterator[tuple[str, Case]]:
    for mode in MODES:
        for env in (*CLASSIC, *GAMES, *LOWERED):
            yield from _all_ways(env, mode, 64, 40, "native")
        for env in (CARTPOLE, DRIFT, DUSK):
            yield f"native {env.id} {mode} drawn parameters", partial(_drawn, env, mode, 64, 40, "native")
    for env in (*MUJOCO, PARKING):
        yield f"native {env.id}", partial(_kept, env, "same_step", 64, 40, "native")


def of_triton() -> Iterator[tuple[str, Case]]:
    for mode in MODES:
        for env in (CARTPOLE, PENDULUM, SWARM):
            yield from _all_ways(env, mode, 20, 17, "triton")
    yield "triton MinAtar/Breakout-v1", partial(_kept, BREAKOUT, "same_step", 8, 10, "triton")
    yield "triton drawn parameters", partial(_drawn, CARTPOLE, "same_step", 20, 17, "triton")


def _all_ways(env: Any, mode: str, n: int, steps: int, backend: str) -> Iterator[tuple[str, Case]]:
    for way, function in (("at random", _at_random), ("policy", _by_policy), ("steps", _stepped)):
        yield f"{backend} {env.id} {mode} {way}", partial(function, env, mode, n, steps, backend)


def _make(env: Any, mode: str, n: int, backend: str, **kwargs: Any) -> Any:
    limit = min(LIMIT, env.max_episode_steps or LIMIT)
    made = gpusim.make(
        env, n, device="cpu", backend=backend, autoreset_mode=mode, max_episode_steps=limit, validate=False, **kwargs
    )
    made.reset(seed=SEED)
    return made


def _at_random(env: Any, mode: str, n: int, steps: int, backend: str) -> Any:
    """Two rollouts, the second without transitions, so that it goes on where the first has ended."""
    vec = _make(env, mode, n, backend)
    return vec.rollout(steps), vec.rollout(steps, transitions=False), vec.get_state()


def _kept(env: Any, mode: str, n: int, steps: int, backend: str) -> Any:
    """One rollout of transitions, for which less is compiled."""
    vec = _make(env, mode, n, backend)
    return vec.rollout(steps), vec.get_state()


def _drawn(env: Any, mode: str, n: int, steps: int, backend: str) -> Any:
    vec = _make(env, mode, n, backend, params=RANDOM[env.id])
    return vec.rollout(steps), vec.get_state()


def _by_policy(env: Any, mode: str, n: int, steps: int, backend: str) -> Any:
    vec = _make(env, mode, n, backend)
    policy = perceptron(vec) if len(env.observation_space.shape) == 1 else partial(_rule, env.action_space.n)
    return vec.rollout(steps, policy), vec.rollout(steps // 4, policy, transitions=False), vec.get_state()


def perceptron(vec: Any) -> MlpPolicy:
    """An actor and a critic whose weights are a fixed sequence."""
    shape = MlpShape.of(vec.single_observation_space, vec.single_action_space, (16, 16))
    flat = torch.sin(torch.arange(shape.size, dtype=torch.float64) * 1.7).float() * 0.5
    space = vec.single_action_space
    if isinstance(space, Discrete):
        return MlpPolicy(flat, shape)
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    return MlpPolicy(flat, shape, centre=(low + high) / 2, half=(high - low) / 2)


def _rule(choices: int, obs: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    lit = (obs.flatten(1) != 0).sum(1)
    return lit % choices, {"lit": lit}


def _stepped(env: Any, mode: str, n: int, steps: int, backend: str) -> Any:
    """One call a step, with everything in `infos`; now and then every third environment is reset."""
    vec, twin = _make(env, mode, n, backend), _make(env, "same_step", n, "eager")
    every_third, taken = torch.arange(n) % 3 == 0, []
    for t, action in enumerate(twin.rollout(steps // 2).action):
        taken.append(vec.step(action))
        if t % 5 == 4:
            taken.append(vec.reset(options={"reset_mask": every_third}))
    return taken, vec.get_state(), vec.episodes


WRAPPED: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "CartPole": (
        CARTPOLE,
        lambda env: FrameStackObservation(RecordEpisodeStatistics(NormalizeObservation(env)), 3),
    ),
    "Pendulum": (
        PENDULUM,
        lambda env: TransformReward(NormalizeReward(RescaleAction(env, -1.0, 1.0)), torch.tanh),
    ),
}


def _wrapped(name: str, mode: str) -> Any:
    env, wrap = WRAPPED[name]
    vec = wrap(_make(env, mode, 16, "eager"))
    vec.reset(seed=SEED)
    return vec.rollout(25), vec.rollout(10, transitions=False), vec.get_state()


def _host() -> Any:
    """Gymnasium's CartPole, with random actions, with a policy, and step by step."""
    vec = from_gymnasium("CartPole-v1", 4, device="cpu", engine="sync")
    try:
        obs = vec.reset(seed=SEED)[0]
        rollouts = (
            vec.rollout(60),
            vec.rollout(30, transitions=False),
            vec.rollout(30, lambda obs: (obs[:, 2] > 0).int()),
        )
        steps = [vec.step(torch.tensor([0, 1, 1, 0])) for _ in range(30)]
        begun = vec.reset(options={"reset_mask": torch.tensor([True, False, True, False])})
        return obs, rollouts, steps, begun, vec.episodes
    finally:
        vec.close()
