"""Processes that `torchrun` has started become one run: they find each other, see that they mean the same, and one of them
speaks."""

import itertools
import os
import re
import sys
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gpusim.agents.parts.world import ALONE, World, enter
from gpusim.agents.train.signals import end, exit_code
from gpusim.errors import InputError
from gpusim.version import __version__

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets them
PATIENCE = 600  # seconds
GONE = re.compile(r"connection (closed|reset|refused)|broken pipe|gloo|nccl|socket|timed? ?out", re.IGNORECASE)


class Elsewhere(Exception):
    """This process ends because another one has, which says why."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


class Lost(Exception):
    """Another rank is gone, and has not said why."""


def launched() -> bool:
    """Whether this process is one of several, or one that `torchrun` has started."""
    return all(name in os.environ for name in NEEDED)


@contextmanager
def joined(command: Sequence[str] = ()) -> Iterator[World]:
    """The world of the ranks that `torchrun` has started, within which `gpusim.agents.parts.world.here` gives it; `ALONE`
    where it has started none.

    Where ranks fail, the first to do so raises what it met, and the others `Elsewhere`.

    Args:
        command: what this rank was told to do, which must be what the others were.

    Raises:
        InputError: the ranks do not find each other, or differ.
        Lost: one of them is gone, as where it was killed.
    """
    if not launched():
        yield ALONE
        return
    rank, size, place, port = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"))
    world, where = World(rank, size, place, True), f"{os.environ['MASTER_ADDR']}:{port}"
    lasting = _lasting[0] = _met(world, where)
    leave, store = enter(world), None
    try:
        if lasting.check([REFUSED]):  # as it was before torchrun started these again
            raise Elsewhere(2)
        store = _gathered(world, where, lasting)
        _connect(world, where, store)
        _check_alike(world, command)
        yield world
    except BaseException as error:
        end()  # torchrun sends a signal to the others, one that they know of already
        if isinstance(error, InputError):
            lasting.set(REFUSED, "")
        if store and _spoken(store):
            raise Elsewhere(exit_code(error) if isinstance(error, KeyboardInterrupt) else 1) from None
        if isinstance(error, RuntimeError) and GONE.search(str(error)) and not world.alone:
            raise Lost(
                f"rank {rank} has lost another ({_reason(error)}). Under `torchrun --max-restarts 3` a run goes on by "
                "itself, from its newest checkpoint."
            ) from None
        raise
    finally:
        leave()
        _lasting[0] = None
        if dist.is_initialized():
            dist.destroy_process_group()


def _number(name: str) -> int:
    text = os.environ.get(name, "0")
    if not text.isdecimal():
        raise InputError(f"{name} must be a whole number, as torchrun sets it, not {text!r}.")
    return int(text)


def _met(world: World, where: str) -> Any:
    """The store that all ranks share. Under torchrun it outlives them."""
    try:
        return next(iter(dist.rendezvous("env://")))[0]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"rank {world.rank} does not find the others at {where}: {_reason(error)}.") from None


def _gathered(world: World, where: str, store: Any) -> Any:
    """The part of the store that is for these processes alone, once all are there.

    Those that torchrun starts again find what others left there before them, their addresses too. So each says hello by a
    name that nobody had, and is answered with the name of that part.
    """
    name, end = uuid.uuid4().hex, time.monotonic() + PATIENCE
    if not world.first:
        store.set(f"hello {world.rank}", name)
    answered = dict.fromkeys(range(1, world.size) if world.first else (), "")
    while time.monotonic() < end:
        if not world.first and store.check([f"answer {name}"]):
            attempt = store.get(f"answer {name}").decode()
            store.add(f"ready {attempt}", 1)
            return dist.PrefixStore(attempt, store)
        if world.first and store.add(f"ready {name}", 0) == world.size - 1:
            return dist.PrefixStore(name, store)
        for rank in answered:
            if store.check([f"hello {rank}"]) and (other := store.get(f"hello {rank}").decode()) != answered[rank]:
                store.set(f"answer {other}", name)
                answered[rank] = other
        time.sleep(0.01)
    raise InputError(
        f"rank {world.rank} has waited at {where} for {PATIENCE} s, and not all of {world.size} ranks came."
    )


def _connect(world: World, where: str, store: Any) -> None:
    if world.alone:
        return
    engine = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(engine, store=store, rank=world.rank, world_size=world.size)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"rank {world.rank} is not connected to the others at {where}: {_reason(error)}.") from None


def _spoken(store: Any) -> bool:
    """Whether another rank has said why the run ends; from now on one has."""
    with suppress(RuntimeError):  # the process that has the store is gone
        return store.add("spoken", 1) > 1
    return False


def _reason(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\]\s*", "", line).partition(". ")[0].rstrip(".")


# ------------------------------------------------------------------------------------------------------- restarts


_lasting: list[Any] = [None]  # the store of all ranks, while they are joined
RUN, REFUSED = "gpusim run", "gpusim refused"


def note_run(path: Path) -> None:
    """Remembers the folder of the run for the processes that `torchrun` starts in the place of these, should one fail."""
    if _lasting[0] is not None:
        _lasting[0].set(RUN, str(path.absolute()))


def noted_run() -> str | None:
    """The folder of the run that these processes are to go on with; None where they are the first."""
    if _lasting[0] is None or not _lasting[0].check([RUN]):
        return None
    return _lasting[0].get(RUN).decode()


# ---------------------------------------------------------------------------------------------------------- alike


def _check_alike(world: World, command: Sequence[str]) -> None:
    """Raises InputError where ranks were told to do different things, or are of different versions.

    What to do counts for the first processes alone: of those that go on with their run, some may be told to train, and some,
    on a machine that was started again, to resume.
    """
    mine = {"gpusim": __version__, "torch": torch.__version__, "command": [] if noted_run() else list(command)}
    first, *others = world.said(mine)
    for rank, other in enumerate(others, 1):
        if differ := difference(first, other):
            raise InputError(f"all ranks of a run must be alike: rank 0 has {differ[0]}, and rank {rank} {differ[1]}.")


def difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, str] | None:
    """What the one has and what the other, where they first differ."""
    for name in ("gpusim", "torch"):
        if one[name] != other[name]:
            return f"{name} {one[name]}", other[name]
    before = ""
    for a, b in itertools.zip_longest(one["command"], other["command"]):
        if a != b:
            flag = f"{before} " if before.startswith("--") else ""
            found, instead = ("nothing in its place" if word is None else f"{flag}{word}" for word in (a, b))
            return found, instead
        before = a
    return None


def hush() -> None:
    """Of a rank that is not the first nothing is shown, but why a run ends."""
    from gpusim.agents.train.console import mute

    mute(sys.stdout)
    warnings.simplefilter("ignore")
