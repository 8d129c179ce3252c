"""Seconds from the start of Python to the end of the first call, measured in processes of their own.

python -m gpusim.agents.bench.startup POINT
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

from gpusim.agents.folder.strict_json import dumps


def startup(point: Any) -> dict[str, Any]:
    """The seconds with empty compiler caches (cold), and again with what that left in them (warm).

    Raises:
        RuntimeError: the process failed; the message is the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        caches = {"TORCHINDUCTOR_CACHE_DIR": folder, "TRITON_CACHE_DIR": f"{folder}/triton", "GPUSIM_CACHE": folder}
        return {name: in_a_process(point, caches) for name in ("cold", "warm")}


def in_a_process(point: Any, environ: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, dumps(asdict(point)), repr(time.time())]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        said = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise RuntimeError(said[-1].removeprefix("gpusim.errors.InputError: "))
    return json.loads(done.stdout.splitlines()[-1])


def main(text: str, began: str) -> None:
    from gpusim.agents.bench.measure import Point, make, seconds_of

    start, imported = float(began), time.time()
    env, call, _ = make(Point(**json.loads(text)))
    made = time.time()
    first = seconds_of(call, env.device)
    seconds = {"import_s": imported - start, "make_s": made - imported, "first_call_s": first}
    print(dumps(seconds | {"total_s": time.time() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
