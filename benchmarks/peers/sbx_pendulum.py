"""SBX (Stable-Baselines3 in JAX) learns Pendulum with the settings of RL Baselines3 Zoo; one line of JSON tells how long.

    python sbx_pendulum.py sac SEED TARGET

The settings, and the end of training, are those of sb3_pendulum.py; compilation happens within `training`.
"""

import sys

from sb3_pendulum import learn
from sbx import SAC

LEARNERS = [
    {
        "name": "SBX",
        "algorithms": ("sac",),
        "differs": "Stable-Baselines3 in JAX, with the settings of RL Baselines3 Zoo; compilation is within the training.",
    }
]

if __name__ == "__main__":
    learn(SAC, ("sbx-rl", "stable-baselines3", "jax", "gymnasium"), *sys.argv[2:])
