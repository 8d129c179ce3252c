"""What a network that remembers has to be, and how it acts; those that there are stand in `gated.py`."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gpusim.agents.parts.networks import require_finite
from gpusim.tree import tensors, tree_map


@runtime_checkable
class Recurrent(Protocol):
    """A network that remembers. It has these in place of `forward`, `value` and `distribution` of
    `gpusim.agents.parts.networks.ActorCritic`. Its state is as that of a `gpusim.policy.StatefulPolicy`."""

    def initial_state(self, num_envs: int, device: torch.device) -> Any:
        """The state of environments of which nothing has been seen."""

    def unroll(self, obs: Tensor, state: Any, begun: Tensor) -> tuple[Any, Tensor, Any]:
        """T steps of N environments, one after the other.

        Args:
            obs: `[T, N, *obs]`.
            state: `[N, ...]`, before the first step.
            begun: `[T, N]` bool, where `obs` is the first of an episode: the state is the initial one there.

        Returns:
            distribution: the policy's, a `NamedTuple` whose first field is `[T, N, ...]`.
            value: `[T, N]`.
            state: `[T, N, ...]`, after every step.
        """

    def env_action(self, action: Tensor) -> Tensor:
        """What the environment is given."""


class MemoryPolicy:
    """A `gpusim.policy.StatefulPolicy` that acts by a network that remembers.

    Args:
        choose: from the policy's distribution and observations `[N, *obs]` to actions as the environments take them, and
            what to keep beside them.
    """

    def __init__(self, network: Recurrent, choose: Callable[[Any, Tensor], tuple[Tensor, dict[str, Tensor]]]):
        self.network, self.choose = network, choose

    def initial_state(self, num_envs: int, device: torch.device) -> Any:
        return self.network.initial_state(num_envs, device)

    @torch.no_grad()
    def act(self, obs: Tensor, state: Any, begun: Tensor) -> tuple[Tensor, dict[str, Tensor], Any]:
        """See `StatefulPolicy`.

        Raises:
            NotFinite: on a CPU, what actions are chosen by is NaN or infinite.
        """
        unrolled, _, states = self.network.unroll(obs.unsqueeze(0), state, begun.unsqueeze(0))
        name, output = unrolled._fields[0], unrolled[0].squeeze(0)
        if obs.device.type == "cpu":
            require_finite(output)
        action, extras = self.choose(unrolled._replace(**{name: output}), obs)
        return action, extras, tree_map(lambda x: x[0], states)


class Memory(nn.Module):
    """The state of a policy from one rollout to the next: in the same tensors always, where a CUDA graph finds it."""

    def __init__(self, state: Any):
        super().__init__()
        self.state = state
        for number, tensor in enumerate(tensors(state)):
            self.register_buffer(f"tensor{number}", tensor)
        self.by_env = tuple(name for name, _ in self.named_buffers())

    def keep(self, state: Any) -> None:
        tree_map(Tensor.copy_, self.state, state)
