"""JAX's arrays; entered by `gpusim.adapters.to_jax`."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import torch

from gpusim.adapters.common import Adaptable, require_env, to_device
from gpusim.tree import tree_map


class Infos(Mapping):
    """The environment's `infos` as JAX arrays, each turned into one when it is looked at: a conversion costs time."""

    def __init__(self, tensors: dict[str, Any]):
        self._tensors = tensors

    def __getitem__(self, name: str) -> Any:
        return tree_map(jax.dlpack.from_dlpack, self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class JaxEnv:
    """A gpusim environment in any autoreset mode whose `reset` and `step` take and give JAX arrays, through DLPack.

    A step cannot be traced: call it between functions under `jax.jit`, not within one. Arrays lie on the environment's
    device, which JAX must have too: a GPU needs `jax[cuda]`, and XLA_PYTHON_CLIENT_PREALLOCATE=false leaves torch memory.

    Run with JAX 0.10.2. Copies per step: none on a GPU; on the CPU XLA takes memory as it is where it is aligned to 64
    bytes, as large tensors of torch's usually are, and else copies it. JAX arrays cannot be written to, and nobody here
    writes to what was handed over; nor may you, through a tensor that shares it.

    Raises:
        InputError: no gpusim environment.
    """

    def __init__(self, env: Adaptable):
        require_env(env, "to_jax")
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[jax.Array, Mapping]:
        """As `gpusim.VectorEnv.reset`, with a JAX array as `reset_mask`."""
        if options and isinstance(options.get("reset_mask"), jax.Array):
            options = options | {"reset_mask": torch.from_dlpack(options["reset_mask"])}
        return self._given(self.env.reset(seed=seed, options=options))

    def step(self, actions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, Mapping[str, Any]]:
        """As `gpusim.VectorEnv.step`."""
        return self._given(self.env.step(to_device(torch.from_dlpack(actions), self.env)))

    def _given(self, returned: tuple) -> Any:
        if not self.env.copy:  # the environment will write to these tensors again
            returned = tree_map(torch.clone, returned)
        *arrays, infos = returned
        return (*tree_map(jax.dlpack.from_dlpack, tuple(arrays)), Infos(infos))
