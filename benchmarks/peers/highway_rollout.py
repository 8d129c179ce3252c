"""highway-env's own environments, one by one in Gymnasium's `sync` vector environment, as gymnasium_rollout.py runs others.

MODE is `bare`; actions are drawn beforehand. The step after the last one of an episode only resets, and is not counted.
"""

import gymnasium
import highway_env  # noqa: F401
from gymnasium_rollout import stepper
from serve import request, serve

PEERS = [
    {
        "name": "highway-env",
        "runs": "sync",
        "envs": {
            "Highway/highway-fast-v0": "highway-fast-v0",
            "Highway/highway-v0": "highway-v0",
            "Highway/parking-v0": "parking-v0",
        },
        "modes": ("bare",),
        "differs": "A Python object for each vehicle, in float64; a reset takes a step of its own, which is not "
        "counted; no statistics are kept.",
        "most_envs": 8,
    }
]


def main() -> None:
    asked = request()
    env = gymnasium.make_vec(asked.env, asked.num_envs, vectorization_mode="sync")
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(asked.steps)]
    serve(stepper(env, actions), asked.seconds, ("highway-env", "gymnasium", "numpy"), vectorization="sync")


if __name__ == "__main__":
    main()
