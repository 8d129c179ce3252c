"""SBX (Stable-Baselines3 in JAX) learns CartPole with the settings of RL Baselines3 Zoo; one line of JSON tells how long.

    python sbx_cartpole.py {ppo,dqn} SEED TARGET

The settings, and the end of training, are those of sb3_cartpole.py; compilation happens within `training`.
"""

import sys

from sb3_cartpole import learn
from sbx import DQN, PPO

LEARNERS = [
    {
        "name": "SBX",
        "algorithms": ("ppo", "dqn"),
        "differs": "Stable-Baselines3 in JAX, with the settings of RL Baselines3 Zoo; compilation is within the training.",
    }
]
if __name__ == "__main__":
    learn({"ppo": PPO, "dqn": DQN}, ("sbx-rl", "stable-baselines3", "jax", "gymnasium"), *sys.argv[1:])
