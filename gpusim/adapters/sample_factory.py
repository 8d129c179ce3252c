"""Sample Factory's environment that is a batch already; entered by `gpusim.adapters.to_sample_factory`."""

from functools import partial
from typing import Any

import gymnasium
from sample_factory.algo.utils.make_env import BatchedListToDictWrapper
from sample_factory.envs.env_utils import register_env
from torch import Tensor

import gpusim
from gpusim.adapters.common import Adaptable, clipped, require_env, require_mode, require_several, to_device
from gpusim.errors import InputError

# Sample Factory reads `num_agents` through this wrapper; since Gymnasium 1.0 a wrapper passes no attributes on.
BatchedListToDictWrapper.num_agents = property(lambda self: self.env.num_agents)


class SampleFactoryEnv(gymnasium.Env):
    """A gpusim environment in SAME_STEP as `num_agents` agents of one environment that resets itself.

    It wants `--batched_sampling=True --num_workers=1 --num_envs_per_worker=1 --worker_num_splits=1`, on a GPU also
    `--env_gpu_actions=True --env_gpu_observations=True`. Continuous actions are clipped to the action space.

    Run with Sample Factory 2.1.1, which was written for Gymnasium before 1.0 and NumPy before 2, beside Gymnasium 1.4 and
    NumPy 2.4. Copies per step on a GPU: rewards and flags to the host, for its statistics. At the time limit it adds, with
    `--value_bootstrap=True`, the discounted value of the observation that was acted on, not of the one that followed;
    without it, none. No environment can mend that.

    Raises:
        InputError: no gpusim environment, not in SAME_STEP, or a single one.
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_sample_factory")
        require_mode(env, "same_step", "Sample Factory")
        require_several(env, "Sample Factory")
        self.env = clipped(env)
        self.num_agents: int = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict]:  # type: ignore[override]
        obs, reward, terminated, truncated, _ = self.env.step(to_device(action, self.env))
        return obs, reward, terminated, truncated & ~terminated, {}

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


def registered(id: str, num_envs: int | None = None, **kwargs: Any) -> str:
    """Makes the environment known to Sample Factory, which makes it of `kwargs`.

    Args:
        num_envs: None takes `env_agents` of Sample Factory's configuration.

    Returns:
        what goes into `--env=`: "gpusim_" and the id, with "-" for "/".

    Raises:
        InputError: there is no such environment.
    """
    known = gpusim.spec(id).id
    name = f"gpusim_{known.replace('/', '-')}"
    register_env(name, partial(_made, known, num_envs, kwargs))  # it is pickled: Sample Factory makes it in processes
    return name


def _made(id: str, num_envs: int | None, kwargs: dict, name: str, cfg: Any, *_: Any, **__: Any) -> SampleFactoryEnv:
    num_envs = num_envs or getattr(cfg, "env_agents", None)
    if num_envs is None:
        raise InputError("how many environments? Say it by to_sample_factory(id, num_envs=...) or --env_agents.")
    return SampleFactoryEnv(gpusim.make(id, num_envs, **kwargs))
