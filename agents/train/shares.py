"""The state of learners of whom each has its share of the environments, made that of one, and divided anew.

What a tensor holds for each environment lies there step by step, environment by environment: `[K * n, ...]` on a rank that
has n of them, K being 1, or the steps that a replay keeps. A module names such in `by_env`, and in `counted` what counts
entries.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gpusim.agents.parts.world import World
from gpusim.tree import tree_map

State = dict[str, Any]


def whole(world: World, state: State, modules: dict[str, nn.Module], num_envs: int) -> State:
    """What one learner of all environments would hold, in the form of `state`, of what every rank does; on the first rank.

    Args:
        state: this rank's.
        modules: those that it is of, by name.
        num_envs: of all ranks.
    """
    if world.alone:
        return state
    count = num_envs // world.size

    def gathered(x: Tensor) -> Tensor:
        parts = world.gathered(x).unflatten(1, (-1, count))  # [W, K, n, ...]
        return parts.movedim(0, 1).flatten(0, 2)

    return _changed(state, modules, gathered, count, world.size)


def own(world: World, state: State, modules: dict[str, nn.Module], num_envs: int) -> State:
    """This rank's share of the state of one learner of all environments."""
    if world.alone:
        return state

    def divided(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, world.size, num_envs // world.size))[:, world.rank].flatten(0, 1)

    return _changed(state, modules, divided, num_envs, 1 / world.size)


def _changed(
    state: State, modules: dict[str, nn.Module], change: Callable[[Tensor], Tensor], num_envs: int, factor: float
) -> State:
    found = dict(state)
    found["env"] = tree_map(lambda x: change(x) if x.ndim and len(x) == num_envs else x, state["env"])
    for name, module in modules.items():
        held = found[name] = dict(state[name])
        for each in getattr(module, "by_env", ()):
            held[each] = change(held[each])
        for each in getattr(module, "counted", ()):
            held[each] = (held[each] * factor).long()
    return found
