"""What tyro says of options that it cannot read, in a box of several lines, as one sentence."""

import contextlib
import io
import re
from collections.abc import Iterator

from gpusim.errors import InputError

BORDER = " │|╭╮╰╯\n"
RULE = re.compile(r"[─━╭╮╰╯├┤ -]*")  # a line that separates


class Helped(Exception):
    """The options were asked for, and are printed."""


@contextlib.contextmanager
def in_a_sentence(program: str) -> Iterator[None]:
    """Raises InputError where tyro would print a box and exit, and Helped where it has printed help."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise Helped from None
        raise InputError(sentence(said.getvalue(), program)) from None


def sentence(box: str, program: str) -> str:
    """`box` has a title, what is wrong, perhaps what was meant, and where help is, between lines that separate."""
    parts = [""]
    for bordered in box.splitlines():
        line = bordered.strip(BORDER)
        if title := re.fullmatch(r"─+ (.+?) ─+", line):  # within the upper border, where a terminal can show one
            parts = [title[1], ""]
        elif line and RULE.fullmatch(line):
            parts.append("")
        else:
            parts[-1] = f"{parts[-1]} {line}".strip()
    wrong = parts[1] if len(parts) > 1 else parts[0]
    wrong = wrong.removeprefix("Error parsing ").removeprefix("Unrecognized options: ")
    if parts[0].startswith("Unrecognized options"):
        wrong = f"no option is called {wrong}"
    flag, several, errors = wrong.partition(": no type matching")
    if several:  # of the types that it may have, the last is the one that was meant
        wrong = f"{flag}: {re.split(r' - (?=<|typing|float|int|str)', errors)[-1].partition(': ')[2]}"
    meant = re.search(r"--[\w-]+", parts[2]) if len(parts) > 2 and parts[2].startswith("Perhaps") else None
    hint = f"; did you mean {meant[0]}?" if meant else ";"
    return f"{wrong.rstrip('.')}{hint} {program} --help lists the options."
