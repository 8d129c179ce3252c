"""highway-env's parking-v0 as an oracle, as `tests.envs.highway_oracle` is of its highways."""

import functools
from typing import Any, NamedTuple

import numpy as np

from tests.envs.highway_oracle import theirs


class Steps(NamedTuple):
    """Of steps `[M]`: where they come from, fields of our State by name, and what the step gave."""

    origin: list[tuple[int, int]]  # seed and step
    before: dict[str, np.ndarray]
    action: np.ndarray  # [M, 2] float32, some beyond their bounds
    after: dict[str, np.ndarray]
    obs: np.ndarray  # [M, 12]
    reward: np.ndarray
    terminated: np.ndarray


def read(env: Any) -> dict[str, Any]:
    v = env.vehicle
    impact = (0.0, 0.0) if v.impact is None else v.impact
    numbers = (*v.position, v.heading, v.speed, *impact, *v.goal.position)
    x, y, heading, speed, push_x, push_y, goal_x, goal_y = np.float32(numbers)
    return {
        "x": x, "y": y, "heading": heading, "speed": speed, "crashed": bool(v.crashed), "struck": v.impact is not None,
        "push_x": push_x, "push_y": push_y, "goal_x": goal_x, "goal_y": goal_y,
    }  # fmt: skip


def write(env: Any, held: dict[str, Any]) -> None:
    v = env.vehicle
    v.position = np.array([held["x"], held["y"]], np.float64)
    v.heading, v.speed, v.crashed = float(held["heading"]), float(held["speed"]), held["crashed"]
    v.impact = np.array([held["push_x"], held["push_y"]], np.float64) if held["struck"] else None


def seen(obs: dict[str, np.ndarray]) -> np.ndarray:
    """As ours is: what is achieved is what is observed."""
    assert (obs["observation"] == obs["achieved_goal"]).all()
    return np.concatenate([obs["observation"], obs["desired_goal"]])


@functools.cache
def steps(count: int, first_seed: int = 0) -> Steps:
    """Steps of drives that begin near the goal, which some reach, near the walls, or where they should."""
    env, found, origin, seed = theirs("parking-v0"), [], [], first_seed
    while len(found) < count:
        env.reset(seed=seed)
        draw, action = np.random.default_rng(seed), np.zeros(2, np.float32)
        if seed % 3 == 0:
            near = env.vehicle.goal
            env.vehicle.position = near.position + draw.normal(size=2) * (2.0, 4.0)
            env.vehicle.heading, env.vehicle.speed = near.heading + draw.normal() * 0.3, draw.normal()
        if seed % 3 == 1:
            env.vehicle.position = draw.choice([-1.0, 1.0], 2) * draw.uniform((20.0, 10.0), (33.0, 19.0))
            env.vehicle.speed = draw.uniform(-8.0, 12.0)
        for step in range((15, 8, 25)[seed % 3]):
            if step % 5 == 0:
                action = draw.uniform(-1.2, 1.2, 2).astype(np.float32)
                before = read(env)
            write(env, before)
            obs, reward, terminated, _, _ = env.step(action)
            found.append((before, action, read(env), seen(obs), reward, terminated))
            origin.append((seed, step))
            if terminated or len(found) >= count:
                break
        seed += 1
    before, action, after, obs, reward, over = zip(*found, strict=True)
    columns = [{name: np.stack([row[name] for row in rows]) for name in rows[0]} for rows in (before, after)]
    return Steps(
        origin, columns[0], np.array(action), columns[1], np.array(obs), np.array(reward), np.array(over)
    )  # fmt: skip


def resets(count: int) -> np.ndarray:
    """`[count, 3]` headings and goals of their beginnings."""
    env, rows = theirs("parking-v0"), []
    for seed in range(count):
        env.reset(seed=seed)
        rows.append((env.vehicle.heading, *env.vehicle.goal.position))
    return np.array(rows)
