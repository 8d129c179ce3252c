"""gpusim: reinforcement-learning environments and learners that live together in GPU memory.

env = gpusim.make("CartPole-v1", num_envs=4096)
obs, _ = env.reset(seed=0)
obs, reward, terminated, truncated, infos = env.step(actions)
"""

from gpusim import early, links  # noqa: F401 - before all that takes long or needs the links
from gpusim.env import Env, Uniform
from gpusim.envs import ENVIRONMENTS, SIMULATED
from gpusim.errors import InputError, NotFinite
from gpusim.maker import make
from gpusim.physics import PhysicsEnv
from gpusim.physics_vector import PhysicsVectorEnv
from gpusim.registry import env_ids, register, register_own, spec
from gpusim.render import render
from gpusim.rollout import Rollout
from gpusim.vector import VectorEnv, VectorState
from gpusim.version import __version__

__all__ = [
    "Env", "InputError", "NotFinite", "PhysicsEnv", "PhysicsVectorEnv", "Rollout", "Uniform", "VectorEnv", "VectorState",
    "__version__", "env_ids", "make", "register", "render", "spec",
]  # fmt: skip

for _env in ENVIRONMENTS:
    register_own(_env)
for _robot in SIMULATED:
    register_own(_robot)
