"""What every kernel costs on GPUs that need not be here: registers, shared memory, spills, tensor-core instructions.

    python benchmarks/kernel_report.py [--kernels WORD] [--targets sm_90 gfx942 | --all-targets] [--processes 2]

Each kernel is compiled for each target, sm_90 where none is named, as the launcher would compile it: whatever launches one,
every environment and every function of `gpusim.kernels.twin.twins()`, is run, and the launches are written down. Of a game
only the smallest set of actions is compiled: with all of them its kernels differ in a comparison and a number. What comes
out depends on Triton, whose version names the result files: `make gpu-kernel-report` makes those of the Triton that a GPU's
machine has. Ends with code 1 where a kernel spills registers on sm_90, or does not compile there.
"""

import argparse
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import RESULTS, say

import gpusim
from gpusim import checks
from gpusim.agents.bench.distinct import distinct
from gpusim.agents.bench.provenance import provenance, write_json
from gpusim.kernels import tune
from gpusim.kernels.launch import Launch, recording
from gpusim.kernels.mlp import PRECISIONS, MlpShape
from gpusim.kernels.offline import TARGETS, compile_for
from gpusim.kernels.replay import Form
from gpusim.kernels.twin import Twin, twins

STRICT = "sm_90"  # where nothing may spill
CARTPOLE = "CartPole-v1"
EVERY = "every"  # an environment's name for kernels that know none
ENVS, STEPS = 4096, 128
REPLAYED = ("Acrobot-v1", "MinAtar/Breakout-v1", "Pendulum-v1")  # a vector and a board; an action of numbers
WIDE = [*((CARTPOLE, precision) for precision in PRECISIONS), ("Pendulum-v1", "tf32x3")]


class Case(NamedTuple):
    kernel: str  # in words
    env: str
    config: dict[str, Any]
    launch: Launch | None  # None: what launches it failed
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.kernel} ({self.env}; {shown(self.config)})"


@functools.cache
def cases(target: str = STRICT) -> tuple[Case, ...]:
    """Every kernel that is launched there, once for each set of types and constants."""
    found: dict[str, Case] = {}
    for title, env, function in launchers():
        try:
            with tune.assumed(target), recording() as launches:
                function()
        except Exception as error:
            found[f"{title} {env}"] = Case(title, env, {}, None, f"{type(error).__name__}: {error}")
        for launch in launches:
            case = Case(title, env, configuration(launch), launch)
            found.setdefault(kinds(launch), case)
    return tuple(found.values())


def kinds(launch: Launch) -> str:
    """All that what is compiled depends on."""
    constants = {k: getattr(v, "cache_key", v) for k, v in launch.constants.items()}
    return f"{launch.kernel.__name__} {kind(launch.args)} {constants} {launch[4:]}"


def kind(x: Any) -> Any:
    """Of an argument what is compiled in: a tensor's dtype, whether a whole number is 1 or divisible by 16."""
    if isinstance(x, tuple):
        return tuple(map(kind, x))
    if isinstance(x, torch.Tensor):
        return x.dtype
    return (x == 1, x % 16 == 0) if isinstance(x, int) else type(x)


def configuration(launch: Launch) -> dict[str, Any]:
    """Of a launch's constants those that are numbers and words, with its warps."""
    plain = {k: v for k, v in launch.constants.items() if isinstance(v, int | float | str)}
    return {"kernel": launch.kernel.__name__, "warps": launch.num_warps, **plain}


def launchers() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(kernel in words, environment, function that launches it), for all that may differ."""
    yield from environments()
    for env, sizes in learners():
        for twin in twins().values():
            taken = inspect.signature(twin.example).parameters
            if ("capacity" in taken) == ("capacity" in sizes) and needed(twin) <= sizes.keys():
                depends = "capacity" in taken or not taken.keys().isdisjoint(OF_ENVIRONMENT)
                yield twin.name, env if depends else EVERY, functools.partial(call, twin, sizes)


def environments() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """The kernels that hold an environment, CartPole's first."""
    for env in ordered():
        image = len(gpusim.spec(env).observation_space.shape) > 1
        for title, function in SIMULATE.items():
            if not image or title.startswith("simulate"):
                yield title, env, functools.partial(function, env)
        if not image and not checks.policy_problem(gpusim.spec(env)):  # which no kernel with a network holds
            for precision in PRECISIONS if env == CARTPOLE else PRECISIONS[:1]:
                yield "rollout", env, functools.partial(launch_rollout, env, precision)


def learners() -> Iterator[tuple[str, dict[str, Any]]]:
    """What kernels are called with: for an environment, sizes by the names that the kernels' examples take."""
    for env in ordered():
        seen: Any = gpusim.spec(env).observation_space
        if len(seen.shape) == 1:
            for precision in PRECISIONS if env == CARTPOLE else PRECISIONS[:1]:
                yield env, learning(env, precision)
        if env in REPLAYED:
            form = Form(seen.shape, torch.from_numpy(np.empty(0, seen.dtype)).dtype)
            numbers = math.prod(gpusim.spec(env).action_space.shape or (0,))
            as_given = {"form": form, "by_entry": len(seen.shape) == 1, "numbers": numbers}
            for prioritized in (False, True):
                yield env, REPLAY | as_given | {"prioritized": prioritized}
    for env, precision in WIDE:
        yield f"{env}, 2×256", learning(env, precision, (256, 256))


def ordered() -> list[str]:
    """CartPole first."""
    return sorted(distinct(), key=lambda env: env != CARTPOLE)


COMMON = {
    "steps": STEPS, "envs": ENVS, "size": STEPS * ENVS, "minibatches": 16, "rows": STEPS * ENVS // 16, "start": 0,
    "programs": 132, "normalize_obs": True,
}  # fmt: skip
REPLAY = {"capacity": 2**20, "envs": ENVS, "steps": 2, "put": 2**20, "n_step": 3, "batch": ENVS, "late": 2 * ENVS}


OF_ENVIRONMENT = ("shape", "inputs", "actions", "entries")


def learning(env: str, precision: str, hidden: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """The sizes of PPO."""
    shape = network(env, hidden)
    outputs = {"entries" if shape.gaussian else "actions": shape.outputs}
    return COMMON | {"shape": shape, "inputs": shape.inputs, "precision": precision} | outputs


def needed(twin: Twin) -> set[str]:
    """The sizes without which there is no example."""
    return {p.name for p in inspect.signature(twin.example).parameters.values() if p.default is p.empty}


def call(twin: Twin, sizes: dict[str, Any]) -> None:
    taken = inspect.signature(twin.example).parameters
    twin.function(*twin.example(**{name: x for name, x in sizes.items() if name in taken}))


def made(env: str) -> gpusim.VectorEnv:
    ready = gpusim.make(env, ENVS, device="cpu", backend="triton")
    ready.reset(seed=0)
    return ready


def one_step(env: str) -> None:
    ready = made(env)
    ready.step(torch.from_numpy(np.zeros_like(ready.action_space.sample())))


SIMULATE: dict[str, Callable[[str], Any]] = {
    "observe": made,
    "simulate, statistics": lambda env: made(env).rollout(STEPS, transitions=False),
    "simulate, transitions": lambda env: made(env).rollout(STEPS),
    "step": one_step,
}


def network(env: str, hidden: tuple[int, int] = (64, 64)) -> MlpShape:
    """The network that fits the environment."""
    spec = gpusim.spec(env)
    return MlpShape.of(spec.observation_space, spec.action_space, hidden)


def launch_rollout(env: str, precision: str) -> None:
    from gpusim.kernels.policy import MlpPolicy

    shape = network(env)
    entries, outputs = torch.ones(shape.inputs), torch.ones(shape.outputs) if shape.gaussian else None
    policy = MlpPolicy(torch.zeros(shape.size), shape, entries, entries, outputs, outputs, precision)
    made(env).rollout(STEPS, policy)


def compile_case(number: int, target: str) -> dict[str, Any]:
    """The figures of one case on one target, or its error."""
    case = cases(target)[number]
    if case.launch is None:
        return {"error": case.problem}
    try:
        figures = compile_for(case.launch, target)._asdict()
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}"[-1000:]}
    del figures["assembly"], figures["target"]
    return figures | {k: round(figures[k], 2) for k in ("seconds", "cpu_seconds")}


def compile_all(wanted: list[tuple[int, str]], pool: Executor) -> dict[tuple[int, str], dict[str, Any]]:
    done = {}
    for key, figures in zip(wanted, pool.map(compile_case, *zip(*wanted, strict=True)), strict=True):
        done[key] = figures
        say(f"  {cases()[key[0]].name} {key[1]}: {cell(figures)}")
    return done


def report(chosen: list[int], targets: list[str], processes: int) -> dict[str, Any]:
    """Compiles the chosen cases: CartPole's one after another in a fresh process, for the time they take, then the rest."""
    wanted = [(i, t) for i in chosen for t in targets]
    first = [(i, t) for i, t in wanted if t == STRICT and of_cartpole(cases()[i])]
    rest = [key for key in wanted if key not in first]
    done: dict[tuple[int, str], dict[str, Any]] = {}
    for keys, workers in ((first, 1), (rest, processes)):
        if keys:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                done |= compile_all(keys, pool)
    return {
        **provenance(),
        "cartpole": {
            "target": STRICT,
            "kernels": len(first),
            **{name: round(sum(done[k].get(name, 0.0) for k in first), 1) for name in ("seconds", "cpu_seconds")},
        },
        "rows": [row(cases()[i], {t: done[i, t] for t in targets}) for i in chosen],
    }


def of_cartpole(case: Case) -> bool:
    """Whether training on CartPole, as it is set by default, uses it."""
    return case.env in (CARTPOLE, EVERY) and case.config.get("PRECISION", PRECISIONS[0]) == PRECISIONS[0]


def row(case: Case, figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"kernel": case.kernel, "env": case.env, "config": case.config, "targets": figures}


def shown(config: dict[str, Any]) -> str:
    """A configuration in few words; the result file has all of it."""
    words = {"warps": "{} warps", "BLOCK": "{} rows", "HIDDEN1": "{} wide", "PRECISION": "{}"}
    return ", ".join([config.get("kernel", ""), *(words[k].format(config[k]) for k in words if k in config)])


def spilled(figures: dict[str, Any]) -> int:
    """Bytes."""
    return figures.get("spill_stores", 0) + (figures.get("spill_loads") or 0)


def cell(figures: dict[str, Any]) -> str:
    """Registers, shared memory, spills and tensor-core instructions of one target."""
    if "error" in figures:
        return "does not compile"
    spills = "0"
    if spilled(figures):
        sizes = (figures["spill_stores"], figures["spill_loads"])
        spills = f"**{'/'.join(str(x) for x in sizes if x is not None)}**"
    return f"{figures['registers']} · {figures['shared']:,} · {spills} · {figures['tensor_cores']}"


def lines(result: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    targets = list(result["rows"][0]["targets"])
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items() if v and k != "triton")
    commit, day, command = result["commit"], result["date"][:10], result["command"]
    text = [
        f"By triton {result['versions']['triton']}; {versions}; commit {commit}; {day}; `{command}`. Compiled, not run.",
        "In each cell: registers of a thread · bytes of shared memory · bytes spilled (stores/loads) · tensor-core",
        "instructions in the code. Where a precision stands behind, the target lacks the one asked for.",
        "",
        f"| kernel | environment | configuration | {' | '.join(targets)} |",
        f"|---|---|---|{'---:|' * len(targets)}",
    ]
    for r in result["rows"]:
        cells = " | ".join(cell(f) + other_precision(r, f) for f in r["targets"].values())
        text.append(f"| {r['kernel']} | {r['env']} | {shown(r['config'])} | {cells} |")
    cold = result["cartpole"]
    if cold["kernels"]:
        text += [
            "",
            f"The {cold['kernels']} kernels of CartPole for {cold['target']}, one after another with nothing cached: "
            f"{cold['seconds']:.1f} s, {cold['cpu_seconds']:.1f} s of them on the processor "
            f"({result['hardware']['processor']}, load {result['load']} at the start).",
        ]
    return text


def other_precision(r: dict[str, Any], figures: dict[str, Any]) -> str:
    used = figures.get("precision")
    return f" ({used})" if used and used != r["config"].get("PRECISION") else ""


def problems(result: dict[str, Any]) -> list[str]:
    """A sentence for every kernel that spills, or does not compile, where none may."""
    found = []
    for r in result["rows"]:
        figures = r["targets"].get(STRICT, {})
        name = f"{r['kernel']} ({r['env']}; {shown(r['config'])})"
        if "error" in figures:
            found.append(f"{name} does not compile for {STRICT}: {figures['error']}")
        elif spilled(figures):
            stored, loaded = figures["spill_stores"], figures["spill_loads"]
            found.append(f"{name} spills on {STRICT}: {stored} bytes stored, {loaded} loaded.")
    return found


def print_table(result: dict[str, Any]) -> None:
    """By rich on a terminal, where it is installed; otherwise in Markdown."""
    text = lines(result)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print("\n".join(text))
        return
    console = Console()
    if not console.is_terminal:
        print("\n".join(text))
        return
    head, *body = (line.strip("| ").replace("**", "").split(" | ") for line in text if line.startswith("| "))
    table = Table(*head, title="registers · shared [B] · spilled [B] · tensor-core instructions")
    for cells in body:
        table.add_row(*cells)
    console.print(table, text[-1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--kernels", default="", help="only those whose name has this word")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--targets", nargs="+", choices=TARGETS, default=[STRICT])
    which.add_argument("--all-targets", dest="targets", action="store_const", const=list(TARGETS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels", help="folder of the result files")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    chosen = [i for i, case in enumerate(cases()) if args.kernels in case.name]
    if not chosen:
        say(f"No kernel has {args.kernels!r} in its name.")
        return 2
    result = report(chosen, args.targets, args.processes)
    args.out.mkdir(parents=True, exist_ok=True)
    name = result["versions"]["triton"]
    write_json(args.out / f"{name}.json", result)
    (args.out / f"{name}.md").write_text("\n".join(lines(result)) + "\n")
    print_table(result)
    found = problems(result)
    for sentence in found:
        say(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
