"""`python -m tests.golden.record [KIND ...]` writes `trajectories.json` anew: after what is meant to change trajectories."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.golden import cases
from tests.golden.fingerprint import fingerprint, machine

KINDS = ("eager", "native", "triton")
FILE = Path(__file__).with_name("trajectories.json")


def trajectories(kind: str) -> dict[str, Any]:
    return {name: fingerprint(case()) for name, case in getattr(cases, f"of_{kind}")()}


def recorded() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def main() -> None:
    """Those of the kinds that are named, or all; named "interpreted", Triton's are printed, by whoever interprets."""
    torch.set_num_threads(1)
    if sys.argv[1:] == ["interpreted"]:
        print(json.dumps(trajectories("triton")))
        return
    chosen = sys.argv[1:] or KINDS
    kept = recorded() if FILE.exists() else {}
    found = {kind: _recorded(kind) if kind in chosen else kept[kind] for kind in KINDS}
    FILE.write_text(told({"machine": machine()} | found))


def _recorded(kind: str) -> dict[str, Any]:
    return json.loads(interpreted()) if kind == "triton" else trajectories(kind)


def interpreted() -> str:
    """What Triton's interpreter makes, in a process of its own."""
    command = [sys.executable, "-m", "tests.golden.record", "interpreted"]
    variables = os.environ | {"TRITON_INTERPRET": "1"}
    return subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout


def told(found: dict[str, dict[str, Any]]) -> str:
    """As JSON, a line for each case."""
    parts = []
    for kind, each_case in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in each_case.items())
        parts.append(f' "{kind}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
