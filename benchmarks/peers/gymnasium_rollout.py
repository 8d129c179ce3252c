"""Gymnasium's own vector environments: CartPole in NumPy (`vector_entry_point`), the others one by one (`sync`).

MODE is `step` (with Gymnasium's statistics wrapper) or `bare` (without); actions are drawn beforehand. The step after the
last one of an episode only resets: it is no transition and is not counted.
"""

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from serve import request, serve

PEERS = [
    {
        "name": "Gymnasium",
        "runs": "NumPy",
        "envs": {"CartPole-v1": "{id}"},
        "modes": ("step", "bare"),
        "differs": "Steps in float64 and shows float32; a reset takes a step of its own, which is not counted.",
    },
    {
        "name": "Gymnasium",
        "runs": "sync",
        "envs": {"CartPole-v1": "{id}", "Acrobot-v1": "{id}", "MountainCar*": "{id}", "Pendulum-v1": "{id}"},
        "modes": ("step", "bare"),
        "differs": "A Python object for each environment, in float64; a reset takes a step of its own, which is not "
        "counted.",
        "most_envs": 1024,
    },
]


def stepper(env, actions: list) -> Callable[[int], int]:
    """A function that makes so many steps of all environments, and returns the number of transitions among them."""
    at, ended = 0, 0

    def run(calls: int) -> int:
        nonlocal at, ended
        made = 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = env.step(actions[at])
            made += env.num_envs - ended
            ended = int(np.count_nonzero(terminated | truncated))
            at = (at + 1) % len(actions)
        return made

    return run


def main() -> None:
    asked = request()
    kind = "vector_entry_point" if gymnasium.spec(asked.env).vector_entry_point else "sync"
    env = gymnasium.make_vec(asked.env, asked.num_envs, vectorization_mode=kind)
    if env.metadata["autoreset_mode"] != gymnasium.vector.AutoresetMode.NEXT_STEP:
        raise RuntimeError("only environments that reset in a step of its own are counted rightly here")
    env = env if asked.mode == "bare" else RecordEpisodeStatistics(env)
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(asked.steps)]
    serve(stepper(env, actions), asked.seconds, ("gymnasium", "numpy"), vectorization=kind)


if __name__ == "__main__":
    main()
