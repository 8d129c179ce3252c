"""highway-env 1.12.1 as an oracle: what it makes of states that float32 holds, frame by frame and step by step.

Whoever makes one of its intersections changes class attributes for the rest of the process: nobody does so here.
"""

import functools
import importlib.util
import warnings
from typing import Any, NamedTuple

import numpy as np

MISSING = "highway-env is not installed (pip install highway-env==1.12.1)"


class HighwayOracle(NamedTuple):
    """What an environment is compared with."""

    id: str

    @property
    def against(self) -> tuple[str, str]:
        return "highway-env", self.id


def installed() -> bool:
    return importlib.util.find_spec("highway_env") is not None


def theirs(id: str, **config: Any) -> Any:
    """Their environment, without wrappers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gymnasium
        import highway_env

        assert highway_env.__version__ == "1.12.1"
        return gymnasium.make(id, config=config or None, disable_env_checker=True).unwrapped


FIELDS = {
    "x": np.float32, "y": np.float32, "heading": np.float32, "speed": np.float32, "target": np.int32,
    "target_speed": np.float32, "timer": np.float32, "exponent": np.float32, "crashed": bool, "struck": bool,
    "push_x": np.float32, "push_y": np.float32,
}  # fmt: skip


def read(env: Any, size: int) -> dict[str, np.ndarray]:
    """The vehicles on a highway, each field `[size]` as `gpusim.envs.driving.traffic.State` has it."""
    held: dict[str, Any] = {name: np.zeros(size, kind) for name, kind in FIELDS.items()}
    count = len(env.road.vehicles)
    held["x"][count:], held["crashed"][count:], held["exponent"][:] = -1e4 * np.arange(count, size), True, 4.0
    for k, v in enumerate(env.road.vehicles):
        impact = (0.0, 0.0) if v.impact is None else v.impact
        held["x"][k], held["y"][k], held["heading"][k], held["speed"][k] = *v.position, v.heading, v.speed
        held["target"][k], held["target_speed"][k] = v.target_lane_index[2], v.target_speed
        held["timer"][k], held["exponent"][k] = getattr(v, "timer", 0.0), getattr(v, "DELTA", 4.0)
        held["crashed"][k], held["struck"][k] = v.crashed, v.impact is not None
        held["push_x"][k], held["push_y"][k] = impact
    return held


def write(env: Any, held: dict[str, np.ndarray], timers: bool = True) -> None:
    """Puts vehicles where `held` has them. Timers count frames: rounded, some reach a second a frame too early."""
    for k, v in enumerate(env.road.vehicles):
        v.position = np.array([held["x"][k], held["y"][k]], np.float64)
        v.heading, v.speed = float(held["heading"][k]), float(held["speed"][k])
        v.lane_index = env.road.network.get_closest_lane_index(v.position, v.heading)
        v.lane = env.road.network.get_lane(v.lane_index)
        v.target_lane_index = (*v.lane_index[:2], int(held["target"][k]))
        v.target_speed = float(held["target_speed"][k])
        v.crashed = bool(held["crashed"][k])
        v.impact = np.array([held["push_x"][k], held["push_y"][k]], np.float64) if held["struck"][k] else None
        if k:
            v.DELTA = float(held["exponent"][k])
            v.timer = float(held["timer"][k]) if timers else v.timer


class Frames(NamedTuple):
    """Of frames `[M]`: where they come from, and fields `[M, K]` before and after them."""

    origin: list[tuple[int, int]]  # seed and frame
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


class Steps(NamedTuple):
    """Of steps `[M]`."""

    origin: list[tuple[int, int]]
    before: dict[str, np.ndarray]
    action: np.ndarray
    after: dict[str, np.ndarray]
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


def actions(draw: np.random.Generator) -> Any:
    """Manners of driving, some for long: at random, or mostly ahead, or from lane to lane."""
    manner = draw.integers(3)
    while True:
        yield int(
            [draw.integers(5), draw.choice([1, 3, 0, 2, 4], p=[0.3, 0.4, 0.1, 0.1, 0.1]), draw.integers(3)][manner]
        )


@functools.cache
def frames(id: str, size: int, count: int, first_seed: int = 0, **config: Any) -> Frames:
    """Frames of episodes that go on for a while after a crash."""
    env, found, origin, seed = theirs(id, **config), [], [], first_seed
    dt, each = 1 / env.config["simulation_frequency"], env.config["simulation_frequency"]
    while len(found) < count:
        env.reset(seed=seed)
        draw, crashed = np.random.default_rng(seed), 0
        acting = actions(draw)
        for frame in range(env.config["duration"] * each):
            if frame % each == 0:
                env.action_type.act(next(acting))
            before = read(env, size)
            write(env, before)
            env.road.act()
            env.road.step(dt)
            found.append((before, read(env, size)))
            origin.append((seed, frame))
            crashed += env.vehicle.crashed
            if crashed > 3 or len(found) >= count:
                break
        seed += 1
    return Frames(origin, *(_columns(rows) for rows in zip(*found, strict=True)))


@functools.cache
def scattered(id: str, size: int, count: int, seed: int = 0) -> Frames:
    """Frames from states that no episode meets: dense traffic, between lanes, at any speed, thinking of other lanes, or in
    wrecks, of which some are being pushed."""
    env, draw = theirs(id), np.random.default_rng(seed)
    env.reset(seed=seed)
    dt, lanes, vehicles = 1 / env.config["simulation_frequency"], env.config["lanes_count"], len(env.road.vehicles)
    found = []
    for _ in range(count):
        held = read(env, size)
        for name, values in _anywhere(draw, vehicles, lanes).items():
            held[name][:vehicles] = values
        write(env, held)
        env.road.act()
        env.road.step(dt)
        found.append((held, read(env, size)))
    return Frames([(seed, k) for k in range(count)], *(_columns(rows) for rows in zip(*found, strict=True)))


def _anywhere(draw: np.random.Generator, count: int, lanes: int) -> dict[str, np.ndarray]:
    lane = draw.integers(lanes, size=count)
    offset = draw.uniform(-1.9, 1.9, count) * (draw.random(count) < 0.6)
    other = np.where(draw.random(count) < 0.4, draw.choice([-1, 1], count), 0)
    struck = draw.random(count) < 0.04
    return {
        "x": 100.0 + draw.permutation(np.cumsum(draw.uniform(0.5, draw.choice([6.0, 15.0, 30.0]), count))),
        "y": 4.0 * lane + offset,
        "heading": draw.normal(size=count) * draw.choice([0.02, 0.2]),
        "speed": draw.uniform(-1.0, draw.choice([12.0, 42.0]), count),
        "target": np.clip(lane + other, 0, lanes - 1),
        "target_speed": draw.uniform(0.0, 32.0, count),
        "timer": draw.uniform(0.5, 1.5, count),
        "exponent": draw.uniform(3.5, 4.5, count),
        "crashed": draw.random(count) < 0.05,
        "struck": struck,
        "push_x": draw.normal(size=count) * struck,
        "push_y": draw.normal(size=count) * struck,
    }


@functools.cache
def steps(id: str, size: int, count: int, first_seed: int = 0) -> Steps:
    """Steps of episodes, until they end."""
    env, found, origin, seed = theirs(id), [], [], first_seed
    while len(found) < count:
        env.reset(seed=seed)
        acting = actions(np.random.default_rng(seed))
        for step in range(env.config["duration"]):
            before, action = read(env, size), next(acting)
            write(env, before, timers=False)
            obs, reward, terminated, _, _ = env.step(action)
            found.append((before, action, read(env, size), obs.ravel(), reward, terminated))
            origin.append((seed, step))
            if terminated or len(found) >= count:
                break
        seed += 1
    before, action, after, obs, reward, terminated = zip(*found, strict=True)
    return Steps(
        origin, _columns(before), np.array(action), _columns(after), np.array(obs), np.array(reward),
        np.array(terminated),
    )  # fmt: skip


def _columns(rows: Any) -> dict[str, np.ndarray]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
