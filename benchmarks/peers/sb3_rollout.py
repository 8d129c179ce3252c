"""Stable-Baselines3's `DummyVecEnv`: Gymnasium's environments in a Python loop, as its learners use them.

MODE is `step` (with its `VecMonitor`, which keeps the statistics) or `bare` (without); actions are drawn beforehand. An
environment that ends is reset within the same step, so that every row is a transition.
"""

from functools import partial

import gymnasium
import numpy as np
from serve import request, serve
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

PEERS = [
    {
        "name": "Stable-Baselines3",
        "runs": "DummyVecEnv",
        "envs": {"CartPole-v1": "{id}", "Acrobot-v1": "{id}", "MountainCar*": "{id}", "Pendulum-v1": "{id}"},
        "modes": ("step", "bare"),
        "differs": "Gymnasium's environments in a Python loop, in float64.",
        "most_envs": 1024,
    }
]


def main() -> None:
    asked = request()
    envs = DummyVecEnv([partial(gymnasium.make, asked.env)] * asked.num_envs)
    env: VecEnv = envs if asked.mode == "bare" else VecMonitor(envs)
    env.action_space.seed(0)
    env.seed(0)
    env.reset()
    actions = [np.stack([env.action_space.sample() for _ in range(asked.num_envs)]) for _ in range(asked.steps)]
    at = 0

    def run(calls: int) -> int:
        nonlocal at
        for _ in range(calls):
            env.step(actions[at])
            at = (at + 1) % len(actions)
        return calls * asked.num_envs

    serve(run, asked.seconds, ("stable-baselines3", "gymnasium", "numpy"))


if __name__ == "__main__":
    main()
