"""What became of hostile inputs, kind by kind: the shared ledger of the tests in this folder.

An outcome is `clean` (refused in one sentence, or used rightly), `raw` (a traceback, words that are no sentence or of
several lines, or a refusal of what is right), or `silent` (accepted, and what came of it is wrong).
"""

import contextlib
import io
import os
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from gpusim.agents.app.cli import main
from gpusim.errors import InputError

OUTCOMES = ("clean", "raw", "silent")


@dataclass
class Answer:
    """What a command, or a call, answered."""

    code: int  # 0, or 2 where it was refused
    out: str = ""
    err: str = ""
    raw: str = ""  # a traceback
    value: Any = None


def command(*args: Any) -> Answer:
    """`gpusim` with these arguments, in this process."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(arg) for arg in args])
    except SystemExit as exit_:
        return Answer(int(exit_.code or 0), out.getvalue(), err.getvalue())
    except BaseException:
        return Answer(70, out.getvalue(), err.getvalue(), traceback.format_exc())
    raise AssertionError("main always exits")


def call(function: Callable[[], Any], also: tuple[type[Exception], ...] = ()) -> Answer:
    """A call from Python, which refuses by `InputError`, or by what else is given."""
    try:
        return Answer(0, value=function())
    except (InputError, *also) as error:
        return Answer(2, err=f"gpusim: {error}\n")
    except BaseException:
        return Answer(70, raw=traceback.format_exc())


def outcome(answer: Answer, right: Callable[[Answer], bool]) -> str:
    """`right` says of an answer that refused nothing whether it is what it should be, whatever was told."""
    lines = answer.err.splitlines()
    sentences = all(line.startswith("gpusim: ") and len(line.split()) > 1 for line in lines)
    refusals = [
        line for line in lines if not line.endswith("is taken.")
    ]  # of a checkpoint, before what refuses the run
    if answer.raw or not sentences or (answer.code == 2 and len(refusals) != 1):
        return "raw"
    if answer.code:
        return "clean" if lines else "silent"
    return "clean" if right(answer) else "silent"


def draw(test: Callable[[Any], None], inputs: Any, examples: int) -> None:
    """Calls `test` with so many of `inputs`: always the same ones, unless FUZZ_SEED asks for others, FUZZ_TIMES for more."""
    times, number = int(os.environ.get("FUZZ_TIMES", "1")), os.environ.get("FUZZ_SEED")
    limits: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    drawn = settings(max_examples=examples * times, derandomize=number is None, **limits)(given(inputs)(test))
    (drawn if number is None else seed(int(number))(drawn))()


@dataclass
class Ledger:
    """Counts, and the inputs that did badly."""

    counts: Counter = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def note(self, kind: str, what: str, answer: Answer, right: Callable[[Answer], bool] = lambda answer: True) -> None:
        found = outcome(answer, right)
        self.counts[kind, found] += 1
        if found != "clean":
            self.bad.append(f"{found}: {kind}: {what}\n{answer.out}{answer.err}{answer.raw}")

    @property
    def inputs(self) -> int:
        return self.counts.total()

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(kind for kind, _ in self.counts))
        rows = [[kind, *(self.counts[kind, o] for o in OUTCOMES)] for kind in kinds]
        rows = [["", *OUTCOMES], *rows, ["all", *(sum(self.counts[kind, o] for kind in kinds) for o in OUTCOMES)]]
        return "\n".join(f"{name!s:<44}" + "".join(f"{cell!s:>8}" for cell in cells) for name, *cells in rows)
