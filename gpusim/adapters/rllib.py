"""RLlib, by its use of Gymnasium's vector environments; entered by `gpusim.adapters.to_rllib`."""

from typing import Any

from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import register_env

from gpusim.adapters.common import require_mode
from gpusim.adapters.gymnasium_numpy import NumpyVectorEnv
from gpusim.errors import InputError
from gpusim.vector import VectorEnv


def registered(id: str, **kwargs: Any) -> str:
    """Registers a `Maker` in Ray, in this process and those it starts, and returns the name that `environment` takes."""
    make = Maker(id, **kwargs)
    register_env(str(make), make)
    return str(make)


class Maker:
    """Makes what RLlib's new API stack steps: an environment in NEXT_STEP as a `NumpyVectorEnv`.

        config.environment(to_rllib("CartPole-v1", device="cuda"))
        config.env_runners(num_envs_per_env_runner=256, gym_env_vectorize_mode="vector_entry_point")

    `env_config` goes to `gpusim.make` too. Every runner makes an environment of its own, from its own seed; RLlib leaves
    out the rows that are resets, and bootstraps an end by the time limit from the true observation.

    Run with Ray 2.60.0, which wants Gymnasium 1.2.2. Copies per step on a GPU: one to the host, one of the actions to the
    device. RLlib walks through the rows in Python, so that many environments in one runner gain little.

    Raises:
        InputError: another autoreset mode; or, when called, without `gym_env_vectorize_mode="vector_entry_point"`.
    """

    def __init__(self, id: str, **kwargs: Any):
        self.id, self.kwargs = id, kwargs
        require_mode(self._made(), "next_step", "RLlib")

    def __call__(self, config: "EnvContext | dict") -> NumpyVectorEnv:
        if "num_envs" not in config:
            raise InputError(
                "RLlib steps gpusim's environments in one batch only: "
                'set env_runners(gym_env_vectorize_mode="vector_entry_point").'
            )
        return NumpyVectorEnv(self._made(**config))

    def _made(self, **config: Any) -> VectorEnv:
        return VectorEnv(self.id, **{"autoreset_mode": "next_step", **self.kwargs, **config})

    def __str__(self) -> str:
        return " ".join([self.id, *(f"{name}={value}" for name, value in self.kwargs.items())])
