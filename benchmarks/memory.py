"""Memory of an environment: the bytes of its state, and what a million of them need while they step.

    python benchmarks/memory.py [--num-envs 1048576] [--device cpu|cuda] [--limit-gib 8]

Every figure comes from a process of its own. On the CPU its address space is limited to `--limit-gib`, so it would fail
if it asked for more; the peak is the growth of its resident memory from two environments to `--num-envs`.
"""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gpusim
from gpusim import checks
from gpusim.agents.bench import hardware, provenance
from gpusim.agents.machine import probe

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import publish, say

STEPS = 32


@dataclass(frozen=True)
class Config:
    """Memory of an environment: the bytes of its state, and what a million of them need while they step."""

    num_envs: int = 1_048_576
    """Environments that step together."""
    device: str = "auto"
    """auto, cpu or cuda."""
    backends: tuple[str, ...] = ("eager", "compile")
    """What steps them."""
    limit_gib: float = 8.0
    """Of address space, on the CPU."""
    out: Path | None = None
    """Folder of the result files; None: benchmarks/results/HARDWARE."""


def main(config: Config) -> None:
    device = str(checks.device(config.device))
    rows = []
    for env in gpusim.env_ids():
        for backend in config.backends:
            say(f"{env}, {backend}")
            rows.append(in_a_process(env, config.num_envs, device, backend, config.limit_gib))
    result = {"device": device, "limit_gib": config.limit_gib, **provenance(probe()), "rows": rows}
    publish("memory", result, table(result), config.out)


def in_a_process(*arguments: Any) -> dict[str, Any]:
    """`measure_memory(*arguments)` in a new process."""
    command = [sys.executable, __file__, "measure", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory(env: str, num_envs: int, device: str, backend: str, limit_gib: float) -> dict[str, Any]:
    """Bytes of the state, and the peak while `env.step` runs; GPU memory on a GPU, resident memory on the CPU."""
    on_cpu = device == "cpu"
    if on_cpu:
        limit = int(limit_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    step_some(env, 2, device, backend)
    before = resident() if on_cpu else 0
    made = step_some(env, num_envs, device, backend)
    peak = peak_resident() if on_cpu else torch.cuda.max_memory_allocated()
    return {
        "env": env,
        "num_envs": num_envs,
        "backend": backend,
        "state_bytes_per_env": state_bytes(made),
        "peak_bytes_per_env": (peak - before) / num_envs,
        "process_peak_gib": peak / 2**30,
    }


def step_some(env: str, num_envs: int, device: str, backend: str) -> gpusim.VectorEnv:
    made = gpusim.make(env, num_envs, device=device, backend=backend)
    made.reset(seed=0)
    actions = made.rollout(1).action
    assert actions is not None
    for _ in range(STEPS):
        made.step(actions[0])
    made.rollout(STEPS, transitions=False)
    return made


def state_bytes(env: gpusim.VectorEnv) -> float:
    """Bytes of `get_state()` for each environment."""

    def count(tree: Any) -> int:
        if isinstance(tree, tuple):
            return sum(map(count, tree))
        return tree.numel() * tree.element_size() if isinstance(tree, torch.Tensor) and tree.ndim else 0

    return count(env.get_state()) / env.num_envs


def resident() -> int:
    """Resident memory of this process [bytes]; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_resident() -> int:
    """The most it has been [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(result: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    limit = f"address space limited to {result['limit_gib']:g} GiB" if result["device"] == "cpu" else "GPU memory"
    lines = [
        f"{hardware(result, result['device'])}; torch {result['versions']['torch']}; commit {result['commit']}; "
        f"{result['date'][:10]}; {result['rows'][0]['num_envs']:,} environments, {limit}.",
        "",
        "| environment | backend | state, bytes per env | peak while stepping, bytes per env | whole process, GiB |",
        "|---|---|---:|---:|---:|",
    ]
    return lines + [
        f"| {r['env']} | {r['backend']} | {r['state_bytes_per_env']:.0f} | {r['peak_bytes_per_env']:.0f} "
        f"| {r['process_peak_gib']:.2f} |"
        for r in result["rows"]
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        name, count, where, how, most = sys.argv[2:]
        print(json.dumps(measure_memory(name, int(count), where, how, float(most))))
    else:
        import tyro

        main(tyro.cli(Config))
