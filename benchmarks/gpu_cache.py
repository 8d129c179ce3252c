"""What a first GPU is met with: its kernels, compiled beforehand, and the packages that its Python may lack.

    python benchmarks/gpu_cache.py [--out benchmarks/gpu_cache] [--processes 2] [--tests "gae or sampling"]

By the Python, torch and triton of that machine, on one without a GPU (`make gpu-cache` sees to both): all GPU tests, the
smoke and every benchmark run once over the stub driver, and what Triton has then compiled for an H100 is packed. Triton
finds it there if it is the very same Triton, and the kernels have not changed since.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kernel_archive import pack
from report import say

from gpusim.agents.bench.provenance import commit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
UNFINISHED = "unfinished"  # kernels of a run that was cut off, from which the next goes on

# Wheels of what runs on any Python, and is not beside torch, triton, JAX and pytest: by folder, for the folders' sake.
WHEELS = {
    "wheels": ("gymnasium", "farama-notifications"),
    "peers/gymnax": ("gymnax==1.0.1", "gymnasium", "farama-notifications"),
    "peers/rejax": (
        "rejax==0.1.3",
        "gymnax==0.0.9",
        "distrax",
        "tfp-nightly",
        "dm-tree",
        "gymnasium",
        "farama-notifications",
    ),
}


def fetch(out: Path) -> list[str]:
    """Downloads the wheels; those that could not be had."""
    missing = []
    for folder, names in WHEELS.items():
        into = out / folder
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
            command = [*pip, "--no-deps", "--only-binary", ":all:", "-d", str(into), name]
            if subprocess.run(command, capture_output=True).returncode:
                missing.append(name)
    return missing


def launch_all(cache: Path, processes: int, chosen: str) -> int:
    """Runs everything over the stub with Triton caching in `cache`; pytest's exit code, negative if a signal ended it."""
    programs = [str(ROOT / "tests" / "gpu"), str(HERE / "stub" / "launched.py")]
    command = [sys.executable, "-m", "pytest", "-p", "stub.plugin", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short"]
    command += ["--assert=plain", "-W", "ignore:ASSERTIONS ARE NOT EXECUTED", "--durations=10"]
    if importlib.util.find_spec("xdist"):
        command += ["-n", str(processes), "--dist", "worksteal"]
    if chosen:
        command += ["-k", chosen]
    paths = os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")])
    environ = os.environ | {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    environ["PYTHONOPTIMIZE"] = "1"  # without assertions, at which a test would end before its last launch
    environ.pop("TRITON_INTERPRET", None)
    return subprocess.run([*command, *programs], cwd=ROOT, env=environ).returncode


def size(paths: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "gpu_cache", help="folder of what will travel")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tests", default="", help="only those that pytest's -k chooses, and nothing is fetched")
    parser.add_argument("--no-wheels", action="store_true", help="fetch nothing")
    args = parser.parse_args()
    start = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    missing = [] if args.no_wheels or args.tests else fetch(args.out)
    cache = args.out / UNFINISHED
    code = launch_all(cache.resolve(), args.processes, args.tests)
    if code < 0:
        say(f"Signal {-code} ended it; what was compiled by then is in {cache}, from which the next run goes on.")
        return 1
    kernels = pack(cache.resolve(), args.out / "kernels.tar.gz")
    shutil.rmtree(cache, ignore_errors=True)
    (args.out / "commit").write_text(f"{commit() or 'unknown'}\n")
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) / 60
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("triton", "torch"))
    say(f"{args.out}: {kernels} kernels by {versions}; {size(args.out.rglob('*')):.1f} MiB in all will travel.")
    say(f"It took {(time.monotonic() - start) / 60:.0f} minutes, {used:.0f} minutes of one processor.")
    if code:
        say("Some programs ended early over the stub (above); what they had launched by then is among the kernels.")
    if missing:
        say(f"Not to be had as wheels: {', '.join(missing)}.")
    return 1 if missing or not kernels else 0


if __name__ == "__main__":
    raise SystemExit(main())
