"""`listen()`: which kernels Triton compiles, or finds in its cache."""

from typing import Any, NamedTuple


class Loaded(NamedTuple):
    """A kernel that was asked for for the first time in this process."""

    kernel: str
    seconds: float  # to compile it, or to find it
    hit: bool  # whether it was in Triton's cache


def listen() -> list[Loaded]:
    """A list that grows by every kernel that is loaded from now on."""
    import triton

    loaded: list[Loaded] = []

    def note(*, src: Any, times: Any, cache_hit: bool, **_: Any) -> None:
        loaded.append(Loaded(src.fn.__name__, times.total / 1e6, cache_hit))

    triton.knobs.compilation.listener = note
    return loaded


def told(loaded: list[Loaded]) -> str:
    """How many came from where."""
    missed = [kernel.seconds for kernel in loaded if not kernel.hit]
    return f"{len(loaded) - len(missed)} kernels found in the cache, {len(missed)} compiled in {sum(missed):.0f} s"
