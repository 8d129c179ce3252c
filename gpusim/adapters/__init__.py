"""gpusim's environments in other trainers: one function each, which imports the trainer's library when it is called.

    venv = gpusim.adapters.to_sb3(gpusim.make("CartPole-v1", 64))

Every function takes what `gpusim.make` gives or a wrapper of `gpusim.wrappers` around it, and refuses, by an `InputError`
of one sentence, a library that is not installed, an autoreset mode or an action space that the trainer cannot use.
"""

from importlib import import_module
from typing import Any

from gpusim.errors import InputError

__all__ = [
    "from_gymnasium", "to_jax", "to_numpy", "to_pufferlib", "to_rl_games", "to_rllib", "to_rsl_rl", "to_sample_factory",
    "to_sb3", "to_skrl", "to_tianshou", "to_torchrl",
]  # fmt: skip

NO_OCEAN = "NO_OCEAN=1 PYTHONPATH=$PWD/benchmarks/trainers/pufferlib_build "

# Of those that pin an older Gymnasium; `make trainers` does so too.
WITHOUT_PINS = (
    "in the repository pip install -r benchmarks/trainers/{0}.txt, then "
    "{1}pip install --no-deps --no-build-isolation -r benchmarks/trainers/{0}.nodeps"
)

# The module of this package: what it imports, what that is called, and how it is installed.
LIBRARIES = {
    "sb3": ("stable_baselines3", "stable-baselines3", 'pip install "gpusim[sb3]"'),
    "torchrl": ("torchrl", "torchrl", 'pip install "gpusim[torchrl]"'),
    "jax_arrays": ("jax", "jax", 'pip install "gpusim[jax]"'),
    "rllib": ("ray", "ray[rllib]", 'pip install "ray[rllib]"'),
    "skrl": ("skrl", "skrl", 'pip install "gpusim[skrl]"'),
    "rl_games": ("rl_games", "rl-games", 'pip install "gpusim[rl_games]"'),
    "rsl_rl": ("rsl_rl", "rsl-rl-lib", 'pip install "gpusim[rsl_rl]"'),
    "tianshou": ("tianshou", "tianshou", 'pip install "gpusim[tianshou]"'),
    "pufferlib": ("pufferlib", "pufferlib", WITHOUT_PINS.format("pufferlib", NO_OCEAN)),
    "sample_factory": ("sample_factory", "sample-factory", WITHOUT_PINS.format("sample_factory", "")),
}


def _module(name: str, function: str) -> Any:
    """The module of this package, imported; a missing library becomes the sentence that says how to install it."""
    imported, library, remedy = LIBRARIES[name]
    try:
        return import_module(f"gpusim.adapters.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "gpusim"):
            raise
        problem = "is not installed" if missing == imported else f"lacks {missing}"
        raise InputError(f"{function} needs {library}, which {problem}: {remedy}.") from None


def to_numpy(env: Any) -> Any:
    """A `gymnasium.vector.VectorEnv` of NumPy arrays, on which every vector wrapper of Gymnasium's works."""
    from gpusim.adapters.gymnasium_numpy import NumpyVectorEnv

    return NumpyVectorEnv(env)


def to_sb3(env: Any) -> Any:
    """A `VecEnv` of Stable-Baselines3 (and sb3-contrib), of an environment in SAME_STEP."""
    return _module("sb3", "to_sb3").Sb3VecEnv(env)


def to_torchrl(env: Any) -> Any:
    """An `EnvBase` of TorchRL, of an environment with autoreset disabled; no copy."""
    return _module("torchrl", "to_torchrl").TorchRLEnv(env)


def to_jax(env: Any) -> Any:
    """`reset` and `step` on JAX arrays, on the environment's device, through DLPack."""
    return _module("jax_arrays", "to_jax").JaxEnv(env)


def to_rllib(id: str, **kwargs: Any) -> Any:
    """Registers `gpusim.make(id, num_envs, **kwargs)` in NEXT_STEP in Ray and returns the name that `environment` takes."""
    return _module("rllib", "to_rllib").registered(id, **kwargs)


def to_skrl(env: Any) -> Any:
    """A `Wrapper` of skrl, of an environment in SAME_STEP; no copy."""
    return _module("skrl", "to_skrl").SkrlWrapper(env)


def to_rl_games(id: str, **kwargs: Any) -> Any:
    """Registers `gpusim.make(id, num_actors, **kwargs)` in rl_games and returns its `env_name`; no copy."""
    return _module("rl_games", "to_rl_games").registered(id, **kwargs)


def to_rsl_rl(env: Any, seed: int | None = None) -> Any:
    """A `VecEnv` of rsl_rl, of an environment in SAME_STEP with continuous actions, reset with `seed`; no copy."""
    return _module("rsl_rl", "to_rsl_rl").RslRlVecEnv(env, seed)


def to_tianshou(env: Any) -> Any:
    """What Tianshou's `Collector` steps, of an environment with autoreset disabled."""
    return _module("tianshou", "to_tianshou").TianshouVectorEnv(env)


def to_pufferlib(env: Any) -> Any:
    """A `PufferEnv` of PufferLib 3, of an environment in SAME_STEP."""
    return _module("pufferlib", "to_pufferlib").GpusimPufferEnv(env)


def to_sample_factory(id: str, **kwargs: Any) -> Any:
    """Registers `gpusim.make(id, env_agents, **kwargs)` in Sample Factory and returns its name; no copy."""
    return _module("sample_factory", "to_sample_factory").registered(id, **kwargs)


def from_gymnasium(
    id: str, num_envs: int, *, device: Any = "auto", engine: str = "auto", validate: bool | None = None, **kwargs: Any
) -> Any:
    """Any of Gymnasium's environments, stepped on the host, as a `gpusim.host.HostVectorEnv` of tensors on `device`.

    Atari's games (`ALE/Pong-v5`, `PongNoFrameskip-v4`) come as they are usually learned: `[84, 84, 4]` of bytes (see
    `gpusim.adapters.atari`).

    Args:
        engine: `"async"` (Gymnasium's `AsyncVectorEnv`, a process for each environment, through shared memory), `"sync"`
            (its `SyncVectorEnv`), `"envpool"`, for Atari `"ale"` (the threads of ale-py), or `"auto"`: "ale" for Atari,
            "sync" where a step costs less than what a process does, else "async".
        validate: whether to look at the values of actions; None: on the CPU only.
        kwargs: of `gymnasium.make`.

    Raises:
        InputError: there is no such environment, or it cannot be used so; the sentence says why.
    """
    from gpusim.adapters.gymnasium_host import make

    return make(id, num_envs, device, engine, validate, **kwargs)
