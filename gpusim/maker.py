"""`gpusim.make`: the environments of an id or a definition, stepped by whatever can."""

from typing import Any, overload

from gpusim.env import Env
from gpusim.physics import PhysicsEnv
from gpusim.physics_vector import PhysicsVectorEnv
from gpusim.registry import spec
from gpusim.vector import VectorEnv


@overload
def make(env: Env, num_envs: int = 1, **kwargs: Any) -> VectorEnv: ...
@overload
def make(env: PhysicsEnv, num_envs: int = 1, **kwargs: Any) -> PhysicsVectorEnv: ...
@overload
def make(env: Any, num_envs: int = 1, **kwargs: Any) -> Any: ...
def make(env: Any, num_envs: int = 1, **kwargs: Any) -> Any:
    """A `gpusim.VectorEnv`, or, of a `gpusim.PhysicsEnv`, a `gpusim.PhysicsVectorEnv`.

        env = gpusim.make("CartPole-v1", num_envs=4096)

    Args:
        env: an id, with or without `gpusim/` before it, or what it is the id of.
        num_envs: N.
        kwargs: `device`, `backend`, `autoreset_mode`, `params`, `max_episode_steps`, `copy`, `validate`, `render_mode`,
            `first_env`, `vectors`, as these classes take them.

    Raises:
        InputError: an argument cannot be used; the sentence says what can.
    """
    task = spec(env)
    return (PhysicsVectorEnv if isinstance(task, PhysicsEnv) else VectorEnv)(env, num_envs, **kwargs)
