"""What a row costs in the kernels that hold networks: instructions that warps issue for it, registers, spills, on sm_90.

    python benchmarks/instructions.py [--label after] [--kernels WORD]

A row is a step of one environment in the rollout, in the gradient a transition that both networks learn from. Nothing is
run: the kernels are compiled as they are launched, and counted is what their SASS issues along the usual way
(`sass.py`). Each run is a column of the table, named after its label and its triton; columns of other runs stay. An
earlier state of the code is counted with PYTHONPATH at its checkout.
"""

import argparse
import functools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from kernel_report import call, learning, made, network
from report import RESULTS, say
from sass import turn

from gpusim.agents.bench.provenance import provenance, write_json
from gpusim.envs.classic import CLASSIC
from gpusim.kernels.launch import Launch, recording
from gpusim.kernels.mlp import PRECISIONS
from gpusim.kernels.offline import compile_for
from gpusim.kernels.twin import twins

TARGET = "sm_90"
RATE = 132 * 4 * 1.755e9  # warp instructions/s of an H100: multiprocessors × schedulers × clock
STEPS = 128
CARTPOLE = "CartPole-v1"
NARROW, WIDE = (64, 64), (256, 256)


def launch_rollout(
    env: str, precision: str, hidden: tuple[int, int] = NARROW, activation: str = "tanh", normalize: bool = True
) -> None:
    import torch

    from gpusim.kernels.policy import MlpPolicy

    shape = network(env, hidden)._replace(activation=activation)
    entries = torch.ones(shape.inputs) if normalize else None
    outputs = torch.ones(shape.outputs) if shape.gaussian else None
    policy = MlpPolicy(torch.zeros(shape.size), shape, entries, entries, outputs, outputs, precision)
    made(env).rollout(STEPS, policy)


def launch_gradient(env: str, precision: str) -> None:
    call(twins()["ppo_gradient"], learning(env, precision))


def cases() -> dict[str, Callable[[], Any]]:
    """What launches each kernel."""
    found: dict[str, Callable[[], Any]] = {}
    for precision in PRECISIONS:
        found[f"rollout, CartPole, {precision}"] = functools.partial(launch_rollout, CARTPOLE, precision)
    for env in (other.id for other in CLASSIC if other.id != CARTPOLE):
        found[f"rollout, {env.split('-')[0]}, tf32x3"] = functools.partial(launch_rollout, env, PRECISIONS[0])
    relu = functools.partial(launch_rollout, activation="relu")
    found["rollout, CartPole, relu, tf32x3"] = functools.partial(relu, CARTPOLE, PRECISIONS[0])
    for precision in PRECISIONS:
        wide = functools.partial(launch_rollout, CARTPOLE, precision, WIDE)
        found[f"rollout, CartPole, 2×256, {precision}"] = wide
    for precision in PRECISIONS:
        found[f"gradient, CartPole, {precision}"] = functools.partial(launch_gradient, CARTPOLE, precision)
    found["gradient, Pendulum, tf32x3"] = functools.partial(launch_gradient, "Pendulum-v1", PRECISIONS[0])
    return found


def counted(function: Callable[[], Any]) -> dict[str, Any]:
    """The figures of the kernel with networks that `function` launches."""
    with recording() as launches:
        function()
    launch = next(x for x in launches if "PRECISION" in x.constants)
    code = compile_for(launch, TARGET)
    rows = launch.constants["BLOCK"]
    instructions = turn(code.assembly, trips(launch)) * launch.num_warps / rows
    figures = {name: getattr(code, name) for name in ("registers", "shared", "spill_stores", "spill_loads")}
    return {"rows": rows, "warps": launch.num_warps, "instructions": round(instructions), **figures}


def trips(launch: Launch) -> tuple[int, ...]:
    """How often loops within the main one turn: a network in pieces of its second layer, each of pieces of its first."""
    c = launch.constants
    times = [math.ceil(c[f"HIDDEN{i}"] / c[f"C{i}"]) for i in (2, 1)] if "C1" in c else []
    return tuple(n for n in times if n > 1)  # one turn is no loop


def lines(columns: dict[str, dict[str, Any]]) -> list[str]:
    """The table in Markdown."""
    text = [f"{name}: commit {c['commit']}, {c['date'][:10]}, `{c['command']}`  " for name, c in columns.items()]
    text += [
        "",
        "In each cell: warp instructions a row (rows/s that an H100 could issue at 1.755 GHz) · registers of a thread ·",
        f"bytes spilled (stores/loads) · rows and warps of a block. Compiled for {TARGET}, not run.",
        "",
        f"| kernel | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    names = dict.fromkeys(name for c in columns.values() for name in c["kernels"])
    for name in names:
        text.append(f"| {name} | {' | '.join(cell(c['kernels'].get(name)) for c in columns.values())} |")
    return text


def cell(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    f = figures
    spills = f"**{f['spill_stores']}/{f['spill_loads']}**" if f["spill_stores"] or f["spill_loads"] else "0"
    rate = RATE / f["instructions"] / 1e6
    return f"{f['instructions']:,} ({rate:,.0f} M/s) · {f['registers']} · {spills} · {f['rows']}, {f['warps']}"


def keep(folder: Path, column: str, origin: dict[str, Any], kernels: dict[str, Any]) -> None:
    """Adds what was found to the result files; what is there of other kernels and columns stays."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instructions.json"
    columns = json.loads(path.read_text()) if path.exists() else {}
    columns[column] = origin | {"kernels": columns.get(column, {}).get("kernels", {}) | kernels}
    write_json(path, columns)
    path.with_suffix(".md").write_text("\n".join(lines(columns)) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--label", default="after", help="what the column is called, beside the version of triton")
    parser.add_argument("--kernels", default="", help="only those whose name has this word")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels", help="folder of the result files")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    chosen = {name: function for name, function in cases().items() if args.kernels in name}
    if not chosen:
        say(f"No kernel has {args.kernels!r} in its name.")
        return 2
    origin = provenance()
    column = f"{args.label}, triton {origin['versions']['triton']}"
    for name, function in chosen.items():
        figures = counted(function)
        say(f"  {name}: {cell(figures)}")
        keep(args.out, column, origin, {name: figures})
    print((args.out / "instructions.md").read_text(), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
