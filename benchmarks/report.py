"""Where results go: a JSON file and the Markdown table made of it, in a folder named after the hardware."""

import re
import sys
from pathlib import Path
from typing import Any

from gpusim.agents.bench.provenance import hardware, write_json

RESULTS = Path(__file__).parent / "results"


def say(words: str) -> None:
    """Progress, apart from the table on standard output."""
    print(words, file=sys.stderr, flush=True)


def slug(name: str) -> str:
    """A folder's name for a piece of hardware."""
    name = re.sub(r"\((R|TM)\)|\bCPU\b|@.*?(?=,|$)", " ", name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def folder(result: dict[str, Any], out: Path | None) -> Path:
    """`out`, or the folder of the hardware that `result` was measured on."""
    return out or RESULTS / slug(hardware(result, result["device"]))


def publish(name: str, result: dict[str, Any], table: list[str], out: Path | None, quiet: bool = False) -> None:
    """Writes `name`.json and `name`.md, and prints the table, unless `quiet`."""
    into = folder(result, out)
    into.mkdir(parents=True, exist_ok=True)
    write_json(into / f"{name}.json", result)
    text = "\n".join(table) + "\n"
    (into / f"{name}.md").write_text(text)
    if not quiet:
        print(text, end="")
