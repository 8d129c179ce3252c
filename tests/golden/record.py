"""`python -m tests.golden.record` writes `trajectories.json` anew: after a change that is meant to change trajectories."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.golden import cases
from tests.golden.fingerprint import fingerprint, machine

FILE = Path(__file__).with_name("trajectories.json")


def trajectories(kind: str) -> dict[str, Any]:
    return {name: fingerprint(case()) for name, case in getattr(cases, f"of_{kind}")()}


def recorded() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] == ["triton"]:
        print(json.dumps(trajectories("triton")))
        return
    command, variables = [sys.executable, "-m", "tests.golden.record", "triton"], os.environ | {"TRITON_INTERPRET": "1"}
    interpreted = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {kind: trajectories(kind) for kind in ("eager", "compile")} | {"triton": json.loads(interpreted)}
    FILE.write_text(told({"machine": machine()} | found))


def told(found: dict[str, dict[str, Any]]) -> str:
    """As JSON, a line for each case."""
    parts = []
    for kind, each_case in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in each_case.items())
        parts.append(f' "{kind}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
