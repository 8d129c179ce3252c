"""How fast one GPU is in every mode, with the bandwidth of a copy measured in the same rounds.

    python benchmarks/gpu.py [--sections transitions training] [--rounds 9] [--commit NAME] [--out FOLDER]

Each section is a process of its own: what fails there, or hangs, leaves the others their figures. Within a section each
is made, warmed up and measured once; then the rounds go through all of them again and again. Every measurement is written
down as soon as it is there (DATE-COMMIT.rows, a line of JSON each), so that one who is cut off keeps what he has; at its
end a section goes into benchmarks/results/GPU/DATE-COMMIT.json, beside the sections that are there already. Ends with
code 2 without a GPU.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from compilations import listen
from peers import catalogue
from peers.process import FOLDER as DRIVERS
from peers.process import Running
from report import RESULTS, say, slug

import gpusim
from gpusim.agents.bench.distinct import distinct
from gpusim.agents.bench.measure import summarize
from gpusim.agents.bench.provenance import hardware, provenance, write_json
from gpusim.kernels.mlp import PRECISIONS
from gpusim.rollout import TRANSITION

CARTPOLE = "CartPole-v1"
BREAKOUT = "MinAtar/Breakout-v1"
ENVS = int(os.environ.get("GPU_ENVS", 2**20))  # of a simulation
CAPACITY = 2**20  # of a replay
TARGET = 475.0
SECONDS = 0.2  # least length of one measurement
LIMIT = 300.0  # of a section [s]
LARGE = 2**30  # bytes that one call returns, for which memory is put in order first


class Thing(NamedTuple):
    """What is measured: `call` does `work` units."""

    facts: dict[str, Any]  # env, mode, num_envs, ...
    unit: str
    work: float
    call: Callable[[], Any]
    moved: float = 0.0  # bytes that it writes to memory, where those are compared with a copy


Row = dict[str, Any]
Makers = Iterator[partial[Thing]]

# -------------------------------------------------------------------------------------------------------- sections


def copy() -> Makers:
    """Alone; it goes along with every other section too."""
    yield from ()


def statistics_only() -> Makers:
    for env in envs():
        for steps in (128, 1024) if env == CARTPOLE else (128,):
            yield partial(make_simulation, "sim, statistics only", env, steps, transitions=False)


def transitions() -> Makers:
    """Fewer steps of boards, which are larger; with many the host's work for a call is nothing beside the GPU's."""
    for env in envs():
        steps = 128 if env in vectors() else 16
        yield partial(make_simulation, "sim, every transition returned", env, steps, transitions=True)
        yield partial(make_kernel, env, steps)


def policy() -> Makers:
    for env in vectors():
        for precision in PRECISIONS if env == CARTPOLE else PRECISIONS[:1]:
            yield partial(make_policy, env, precision)


def training() -> Makers:
    for env in vectors():
        for num_envs in (2**12, 2**14, 2**16) if env == CARTPOLE else (2**14,):
            yield partial(make_training, env, num_envs, PRECISIONS[0])
    for precision in PRECISIONS[1:]:
        yield partial(make_training, CARTPOLE, 2**14, precision)


def replay() -> Makers:
    """4,096 transitions of 400 B into a ring of a million, and as many drawn from it; and a copy of as many bytes."""
    yield partial(make_small_copy)
    for kind in ("bytes", "numbers", "bits"):
        for prioritized in (False, True):
            yield partial(make_replay, kind, prioritized)


def solve(_: int = 0) -> Iterator[Row]:
    """CartPole from the first iteration until its last hundred episodes return 475, in a process that has trained before."""
    from gpusim.agents.train.loop import run

    for num_envs in SOLVERS:
        runs: list[tuple[float, str, int]] = []
        for seed in range(-1, 5):  # the first warms up
            learner = solver(num_envs, max(seed, 0))
            torch.cuda.synchronize()
            start = time.perf_counter()
            result = run(learner)
            torch.cuda.synchronize()
            runs.append((time.perf_counter() - start, result.ending, learner.steps))
        seconds = [s for s, ending, _ in runs[1:] if ending == "target"]
        facts: Row = {"mode": "CartPole solved, warm", "env": CARTPOLE, "num_envs": num_envs}
        facts |= {"seeds": len(runs) - 1, "solved": len(seconds), "steps_taken": [n for _, _, n in runs[1:]]}
        yield figures(facts, "s", seconds if len(seconds) == len(runs) - 1 else [])


def peers(rounds: int) -> Iterator[Row]:
    """Those that run on a GPU too, on the same one; each with its packages from `GPU_PEERS`/NAME, where that is set."""
    (gymnax,) = (peer for peer in catalogue.peers() if peer.name == "gymnax")
    for env in (CARTPOLE, BREAKOUT):
        for mode, steps in (("sim", 128), ("transitions", 16)):
            own = (gymnax.envs[env], PEERS_ENVS, steps, mode, SECONDS)
            facts = {"mode": PEERS_MODES[mode], "env": env, "num_envs": PEERS_ENVS, "steps": steps}
            yield beside("gymnax", "gymnax_rollout.py", own, facts, rounds)
    for num_envs in (2**12, 2**14):
        own = (CARTPOLE, num_envs, 64, "train", SECONDS)
        facts = {"mode": PPO, "env": CARTPOLE, "num_envs": num_envs, "steps": 64, "epochs": 4, "minibatches": 16}
        yield beside("rejax", "rejax_training.py", own, facts, rounds)


PEERS_ENVS = 2**16  # with more, JAX's scan needs memory for all of its words at once
PEERS_MODES = {"sim": "sim, statistics only", "transitions": "sim, every transition returned"}


def beside(name: str, driver: str, own: tuple, facts: Row, rounds: int) -> Row:
    """A peer's row, by this Python."""
    facts = facts | {"peer": name}
    folder = os.environ.get("GPU_PEERS")
    environ = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if folder:
        environ["PYTHONPATH"] = str(Path(folder, name))
    try:
        running = Running(
            name, [sys.executable, str(DRIVERS / driver), *map(str, own)], int(facts["num_envs"]), environ
        )
        row = figures(facts | running.versions, "steps/s", [running.measure() for _ in range(rounds)])
        running.close()
    except RuntimeError as problem:
        return failed(facts, str(problem)[-2000:])
    return row


def compile_times(_: int = 0) -> Iterator[Row]:
    """The first rollouts and the first iteration on CartPole in a new process: with an empty cache, and again with it."""
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("first use, compiler cache empty", "first use, compiler cache filled"):
            command = [sys.executable, __file__, "--first-use"]
            done = subprocess.run(
                command, env=os.environ | {"TRITON_CACHE_DIR": folder}, capture_output=True, text=True, timeout=LIMIT
            )
            if done.returncode:
                raise RuntimeError(last_lines(done.stderr))
            first = json.loads(done.stdout.splitlines()[-1])
            yield {**figures({"mode": mode, "env": CARTPOLE}, "s", [first["seconds"]]), **first}


# Sections of things that compete, and sections that make their rows themselves, of so many rounds.
MAKERS: dict[str, Callable[[], Makers]] = {
    "copy": copy,
    "policy": policy,
    "training": training,
    "transitions": transitions,
    "statistics": statistics_only,
    "replay": replay,
}
ROWS: dict[str, Callable[[int], Iterator[Row]]] = {"solve": solve, "peers": peers, "compile": compile_times}
SECTIONS = (*MAKERS, *ROWS)


# ------------------------------------------------------------------------------------------------ what is measured


def envs() -> list[str]:
    """CartPole first; of a game's action sets the smallest, as the others' kernels are the same."""
    return [CARTPOLE, *(e for e in distinct() if e != CARTPOLE)]


def vectors() -> list[str]:
    """Those whose policy a kernel can hold."""
    return [env for env in envs() if len(gpusim.spec(env).observation_space.shape) == 1]


def make_copy() -> Thing:
    """A large tensor copied: bytes read and bytes written."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    moved = 2.0 * source.nbytes
    return Thing({"mode": COPY}, "bytes/s", moved, lambda: target.copy_(source), moved)


def made(env: str, num_envs: int) -> gpusim.VectorEnv:
    ready = gpusim.make(env, num_envs, device="cuda", backend="triton")
    ready.reset(seed=0)
    return ready


def make_simulation(mode: str, env: str, steps: int, transitions: bool) -> Thing:
    ready = made(env, ENVS)
    facts = {"mode": mode, "env": env, "num_envs": ENVS, "steps": steps, "backend": ready.backend}
    moved = 0.0
    if transitions:
        out = ready.rollout(steps)
        moved = written(getattr(out, name) for name in TRANSITION)
    return Thing(facts, "steps/s", steps * ENVS, partial(ready.rollout, steps, transitions=transitions), moved)


def written(tensors: Iterable[Any]) -> float:
    """Bytes of their memory, also of those in tuples: one value that stands for all of a tensor is written once."""
    held = [x.untyped_storage() for x in tree_leaves(list(tensors)) if x is not None]
    return float(sum({s.data_ptr(): s.nbytes() for s in held}.values()))


def make_kernel(env: str, steps: int) -> Thing:
    """The launch of `rollout` alone, without the sums that follow it."""
    ready = made(env, ENVS)
    facts = {"mode": "sim, every transition, the kernel alone", "env": env, "num_envs": ENVS, "steps": steps}
    call = partial(ready.fast_rollout, steps, None, True)
    out = call()
    return Thing(facts, "steps/s", steps * ENVS, call, written(getattr(out, name) for name in TRANSITION))


def make_policy(env: str, precision: str) -> Thing:
    """The rollout kernel, into memory that is there already."""
    from gpusim.kernels.rollout_triton import collected

    num_envs, steps = ENVS // 8, 64
    learner, ready = trainer(env, num_envs=64, precision=precision), made(env, num_envs)
    acting = learner.fused.policy
    kept, clock = collected(steps, num_envs, acting), torch.zeros((), dtype=torch.int64, device="cuda")
    facts = {"mode": "sim + policy (2x64 tanh), one kernel", "env": env, "num_envs": num_envs, "steps": steps}
    call = partial(ready.rollout_into, kept, acting, clock)
    return Thing(facts | {"precision": precision}, "steps/s", steps * num_envs, call)


def make_training(env: str, num_envs: int, precision: str) -> Thing:
    learner = trainer(env, num_envs=num_envs, num_steps=64, epochs=4, minibatches=16, precision=precision)
    facts = {"mode": PPO, **described(learner), "steps": 64, "epochs": 4, "minibatches": 16, "precision": precision}
    return Thing(facts, "steps/s", learner.config.steps_per_iteration, learner.iterate)


COPY, PPO = "copy", "PPO training, end to end"
SOLVERS = (1024, 4096)  # environments


def solver(num_envs: int, seed: int) -> Any:
    """A learner that stops when CartPole is solved."""
    from gpusim.agents.train.run import make_learner, preset

    config = preset("ppo", CARTPOLE, num_envs=num_envs, device="cuda", seed=seed, target_return=TARGET, log_every=1)
    return make_learner("ppo", config)


# Observations that take 400 B in a replay.
REPLAYED = {"bytes": (np.uint8, (10, 10, 4)), "numbers": (np.float32, (100,)), "bits": (np.bool_, (40, 20, 4))}


def make_small_copy() -> Thing:
    """Of as much as one replay's insertion and sample move: two observations each, 4,096 times; within one graph."""
    source = torch.empty(4 * 4096 * 400, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    moved = 2.0 * source.nbytes
    call = in_graph(lambda: target.copy_(source))
    return Thing({"mode": "copy of what a replay moves"}, "bytes/s", moved, call, moved)


def make_replay(kind: str, prioritized: bool) -> Thing:
    """Bytes are those of observations: read and written once at insertion, and once when they are drawn."""
    from gymnasium.spaces import Box, Discrete

    from gpusim.agents.parts.replay import Replay
    from gpusim.rollout import Rollout

    num_envs, (dtype, shape) = 4096, REPLAYED[kind]
    space = Box(0, 1, shape, dtype)
    device, alpha = torch.device("cuda"), 0.6 if prioritized else None
    kept = Replay(CAPACITY, num_envs, space, Discrete(6), 1, 0.99, alpha, device)
    obs = torch.zeros(1, num_envs, *shape, dtype=kept.form.dtype, device=device)
    number, flag = torch.zeros(1, num_envs, device=device), torch.zeros(1, num_envs, dtype=torch.bool, device=device)
    fields = {"obs": obs, "next_obs": obs.clone(), "action": number.long(), "reward": number, "truncated": flag}
    rollout = Rollout(**dict.fromkeys(Rollout._fields) | fields | {"terminated": flag})  # type: ignore[arg-type]
    generator = torch.Generator(device)

    def both() -> None:
        kept.add(rollout)
        kept.sample(num_envs, generator)

    mode = f"replay, insert and sample 4,096, {kind}" + ", prioritized" * prioritized
    shown, held = obs[0].nbytes, num_envs * 400
    facts, moved = {"mode": mode, "num_envs": num_envs}, 4.0 * (shown + held)
    return Thing(facts, "pairs/s", num_envs, in_graph(both, generator), moved)


def in_graph(call: Callable[[], Any], *generators: torch.Generator) -> Callable[[], Any]:
    """The same as a CUDA graph, so that what is measured is the GPU's work, not the host's."""
    from gpusim.agents.parts.graph import Captured

    captured = Captured(call, torch.device("cuda"), generators)
    for _ in range(2):
        captured()
    return captured


def trainer(env: str, **settings: Any) -> Any:
    from gpusim.agents.ppo import PPO, Config

    plain: dict[str, Any] = {
        "hidden": (64, 64),
        "activation": "tanh",
        "normalize_obs": False,
        "normalize_reward": False,
    }
    return PPO(Config(env=env, device="cuda", total_steps=10**12, **plain | settings))


def described(learner: Any) -> dict[str, Any]:
    """What a row says of a learner; `path` is how its iteration runs."""
    facts = {"env": learner.config.env, "num_envs": learner.config.num_envs, "backend": learner.env.backend}
    return facts | {"path": learner.path}


def first_use() -> dict[str, float]:
    """Seconds from asking for CartPole's environments to the end of a PPO iteration, and of them Triton's compilation."""
    torch.zeros(1, device="cuda")
    loaded = listen()
    start = time.perf_counter()
    ready = made(CARTPOLE, 4096)
    ready.rollout(16, transitions=False)
    ready.rollout(16)
    trainer(CARTPOLE, num_envs=4096, num_steps=16).iterate()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    compiled = [kernel.seconds for kernel in loaded if not kernel.hit]
    return {"seconds": seconds, "compile_s": sum(compiled), "kernels": len(compiled)}


# ------------------------------------------------------------------------------------------------------- measuring


def compete(things: list[Thing], repeats: list[int], rounds: int) -> Iterator[tuple[int, float]]:
    """All in turn, `rounds` times, each time from another one on: which, and its units per second."""
    for number in range(rounds):
        turn = number * len(things) // rounds
        for i in (*range(turn, len(things)), *range(turn)):
            yield i, rate(things[i], repeats[i])


def rate(thing: Thing, repeats: int) -> float:
    """Units per second of one measurement."""
    if (
        thing.moved > LARGE
    ):  # what another has left in torch's hands does not fit, and would be freed within the measurement
        torch.cuda.empty_cache()
        thing.call()
    return thing.work * repeats / timed(thing.call, repeats)


def measured(thing: Row, rates: list[float], bandwidth: list[float]) -> Row:
    """A row; where bytes are counted, with their rate and its share of the copy's in the same round, if there is one."""
    row = figures(thing["facts"], thing["unit"], rates)
    if not thing["moved"] or not bandwidth:
        return row
    moved = [thing["moved"] / thing["work"] * rate for rate in rates]
    shares = [m / b for m, b in zip(moved, bandwidth, strict=False)]  # one that was cut off may lack the last round
    return row | {"bytes_per_second": statistics.median(moved), "share_of_copy": summarize(shares)._asdict()}


def assembled(records: list[Row]) -> list[Row]:
    """The rows of what a section has written down, whether or not it came to its end."""
    things = {r["thing"]: r for r in records if "work" in r}
    rates: dict[int, list[float]] = {
        i: [r["rate"] for r in records if r.get("thing") == i and "rate" in r] for i in things
    }
    bandwidth = next((rates[i] for i, thing in things.items() if thing["facts"]["mode"] == COPY), [])
    rows = [measured(thing, rates[i], bandwidth) for i, thing in things.items() if rates[i]]
    return rows + [r["row"] for r in records if "row" in r]


def prepare(thing: Thing) -> int:
    """Warms up; how many calls fill a measurement."""
    torch.cuda.empty_cache()
    for _ in range(3):
        timed(thing.call, 1)
    return max(1, math.ceil(SECONDS / min(timed(thing.call, 1) for _ in range(3))))


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Seconds by the GPU's clock, between two events around the calls."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def figures(facts: dict[str, Any], unit: str, values: list[float]) -> dict[str, Any]:
    """A row: the median and the range of the values, null where there are none."""
    summary = summarize(values)._asdict() if values else dict.fromkeys(("median", "low", "high"))
    return {**facts, "unit": unit, **summary, "values": values}


def failed(facts: dict[str, Any], problem: str) -> dict[str, Any]:
    """A row without a figure."""
    return {**figures(facts, "", []), "error": problem}


def last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])[-2000:]


def run_section(name: str, rounds: int) -> Iterator[Row]:
    """What a section has to write down: things, their rates, and whole rows; those that cannot be made say why."""
    if name in ROWS:
        yield from ({"row": row} for row in ROWS[name](rounds))
        return
    things, repeats = list[Thing](), list[int]()
    makers: list[Callable[[], Thing]] = [make_copy, *MAKERS[name]()]
    for make in makers:
        try:
            thing = make()
            often = prepare(thing)
            first = rate(thing, often)
        except Exception as problem:
            facts = {"mode": name, "arguments": " ".join(map(str, getattr(make, "args", ())))}
            yield {"row": failed(facts, f"{type(problem).__name__}: {problem}"[-2000:])}
            continue
        known = {"facts": thing.facts, "unit": thing.unit, "work": thing.work, "moved": thing.moved}
        yield {"thing": len(things), **known}
        yield {"thing": len(things), "rate": first}
        things.append(thing)
        repeats.append(often)
    yield from ({"thing": i, "rate": found} for i, found in compete(things, repeats, rounds - 1))


def once(name: str) -> None:
    """The first thing of a section, called once between the marks that a profiler waits for."""
    thing = next(MAKERS[name]())()
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    thing.call()
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()


def in_a_process(name: str, rounds: int, kept: Path, limit: float) -> list[Row]:
    """The rows of a section, made by a process of its own, which may die; it writes into `kept` as it goes."""
    kept.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--sections", name, "--rounds", str(rounds), "--inside", str(kept)]
    problem = None
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            if subprocess.run(command, stdout=said, stderr=said, timeout=limit).returncode:
                said.seek(0)
                problem = last_lines(said.read())
        except subprocess.TimeoutExpired:
            problem = f"not done within {limit:.0f} s"
    records = whole_lines(kept.read_text()) if kept.exists() else []
    return assembled(records) + ([failed({"mode": name}, problem)] if problem is not None else [])


def whole_lines(text: str) -> list[Row]:
    """The records in a file whose writer may have been cut off."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def append(path: Path, record: Row) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


# ---------------------------------------------------------------------------------------------------------- report


def result_path(result: Row, out: Path | None) -> Path:
    """The result file, in a folder that is there."""
    folder = out or RESULTS / slug(hardware(result, result["device"]))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{result['date'][:10]}-{result['commit'] or 'unknown'}.json"


def publish(result: Row, sections: dict[str, list], path: Path) -> None:
    """Writes the result; sections of the same day and commit that were measured before stay."""
    before = json.loads(path.read_text())["sections"] if path.exists() else {}
    write_json(path, {**result, "sections": before | sections})


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for r in rows:
        words = ("peer", "mode", "env", "num_envs", "steps", "precision", "arguments")
        name = ", ".join(str(r[k]) for k in words if r.get(k) is not None)
        if r["median"] is None:
            yield f"  {name}: not measured: {r.get('error', 'not every seed got there')}"
            continue
        share = f", {r['share_of_copy']['median']:.2f} of a copy" if "share_of_copy" in r else ""
        yield f"  {name}: {r['median']:.4g} {r['unit']} ({r['low']:.4g} to {r['high']:.4g}){share}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=LIMIT, help="of a section [s]; what it has by then is kept")
    parser.add_argument("--commit", help="what was measured, where no git tells")
    parser.add_argument("--out", type=Path, help="folder of the result file; default: benchmarks/results/GPU")
    parser.add_argument("--once", choices=MAKERS, help="its first thing, once, for a profiler that is told when")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first-use", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if not torch.cuda.is_available():
        say(f"benchmarks/gpu.py needs a CUDA GPU, and torch {torch.__version__} finds none on this machine.")
        return 2
    if args.first_use:
        print(json.dumps(first_use()))
        return 0
    if args.once:
        once(args.once)
        return 0
    if args.inside:
        for record in run_section(args.sections[0], args.rounds):
            append(args.inside, record)
        return 0
    result = {"device": "cuda:0", **provenance(), "rounds": args.rounds}
    result["commit"] = args.commit or result["commit"]
    path, broken = result_path(result, args.out), 0
    for name in args.sections:
        say(f"{name}:")
        kept = path.with_suffix(".rows")
        try:
            rows = in_a_process(name, args.rounds, kept, args.limit)
        except Exception as problem:  # which must not cost the others their turn
            rows = [failed({"mode": name}, f"{type(problem).__name__}: {problem}")]
        print("\n".join(lines(rows)), flush=True)
        publish(result, {name: rows}, path)
        kept.unlink(missing_ok=True)
        broken += any("error" in r for r in rows)
    say(f"{path}" + (f"; {broken} of {len(args.sections)} sections have rows without a figure" if broken else ""))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
