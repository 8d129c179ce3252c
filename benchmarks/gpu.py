"""How fast one GPU is in every mode, with the bandwidth of a copy measured in the same rounds.

    python benchmarks/gpu.py [--sections transitions training] [--rounds 9] [--commit NAME]

Each section is a process of its own: what fails there, or hangs, leaves the others their figures. Within a section
everything is made and warmed up first; then the rounds go through all of it again and again. Writes
benchmarks/results/GPU/DATE-COMMIT.json, adding to the sections that are there already. Ends with code 2 without a GPU.
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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from report import RESULTS, say, slug

import gpusim
from gpusim.agents.bench.measure import summarize
from gpusim.agents.bench.provenance import hardware, provenance, write_json
from gpusim.kernels.mlp import PRECISIONS

CARTPOLE = "CartPole-v1"
MILLION = 2**20
TARGET = 475.0
SECONDS = 0.2  # least length of one measurement
TIMEOUT = 540  # of a section [s]


class Thing(NamedTuple):
    """What is measured: `call` does `work` units."""

    facts: dict[str, Any]  # env, mode, num_envs, ...
    unit: str
    work: float
    call: Callable[[], Any]
    moved: float = 0.0  # bytes that it writes to memory, where those are compared with a copy


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
    for env in envs():
        yield partial(make_simulation, "sim, every transition returned", env, 16, transitions=True)
        yield partial(make_kernel, env, 16)


def policy() -> Makers:
    for env in vectors():
        for precision in PRECISIONS if env == CARTPOLE else PRECISIONS[:1]:
            yield partial(make_policy, env, precision)


def training() -> Makers:
    for env in vectors():
        for num_envs in (2**12, 2**14, 2**16) if env == CARTPOLE else (2**14,):
            yield partial(make_training, env, num_envs)


def replay() -> Makers:
    """4,096 transitions of 400 B into a ring of a million, and as many drawn from it; and a copy of as many bytes."""
    yield partial(make_small_copy)
    for kind in ("bytes", "numbers", "bits"):
        for prioritized in (False, True):
            yield partial(make_replay, kind, prioritized)


def solve() -> list[dict[str, Any]]:
    """CartPole from the first iteration until its last hundred episodes return 475, in a process that has trained before."""
    from gpusim.agents.loop import run
    from gpusim.agents.run import make_learner, preset

    rows = []
    for num_envs in (1024, 4096):
        runs: list[tuple[float, str, int]] = []
        for seed in range(-1, 5):  # the first warms up
            config = preset(
                "ppo", CARTPOLE, num_envs=num_envs, device="cuda", seed=max(seed, 0), target_return=TARGET, log_every=1
            )
            learner = make_learner("ppo", config)
            torch.cuda.synchronize()
            start = time.perf_counter()
            result = run(learner)
            torch.cuda.synchronize()
            runs.append((time.perf_counter() - start, result.ending, learner.steps))
        seconds = [s for s, ending, _ in runs[1:] if ending == "target"]
        facts: dict[str, Any] = {"mode": "CartPole solved, warm", "env": CARTPOLE, "num_envs": num_envs}
        facts |= {"seeds": len(runs) - 1, "solved": len(seconds), "steps_taken": [n for _, _, n in runs[1:]]}
        rows.append(figures(facts, "s", seconds if len(seconds) == len(runs) - 1 else []))
    return rows


def compile_times() -> list[dict[str, Any]]:
    """The first rollouts and the first iteration on CartPole in a new process: with an empty cache, and again with it."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("first use, compiler cache empty", "first use, compiler cache filled"):
            command = [sys.executable, __file__, "--first-use"]
            done = subprocess.run(
                command, env=os.environ | {"TRITON_CACHE_DIR": folder}, capture_output=True, text=True, timeout=TIMEOUT
            )
            if done.returncode:
                raise RuntimeError(last_lines(done.stderr))
            first = json.loads(done.stdout.splitlines()[-1])
            rows.append({**figures({"mode": mode, "env": CARTPOLE}, "s", [first["seconds"]]), **first})
    return rows


SECTIONS: dict[str, Callable[[], Any]] = {
    "copy": copy,
    "statistics": statistics_only,
    "transitions": transitions,
    "policy": policy,
    "training": training,
    "replay": replay,
    "solve": solve,
    "compile": compile_times,
}


# ------------------------------------------------------------------------------------------------ what is measured


def envs() -> list[str]:
    """CartPole first."""
    return [CARTPOLE, *(e for e in gpusim.env_ids() if e != CARTPOLE)]


def vectors() -> list[str]:
    """Those whose policy a kernel can hold."""
    return [env for env in envs() if len(gpusim.spec(env).observation_space.shape) == 1]


def make_copy() -> Thing:
    """A large tensor copied: bytes read and bytes written."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    moved = 2.0 * source.nbytes
    return Thing({"mode": "copy"}, "bytes/s", moved, lambda: target.copy_(source), moved)


def made(env: str, num_envs: int) -> gpusim.VectorEnv:
    ready = gpusim.make(env, num_envs, device="cuda", backend="triton")
    ready.reset(seed=0)
    return ready


def make_simulation(mode: str, env: str, steps: int, transitions: bool) -> Thing:
    ready = made(env, MILLION)
    facts = {"mode": mode, "env": env, "num_envs": MILLION, "steps": steps, "backend": ready.backend}
    moved = 0.0
    if transitions:
        moved = float(sum(x.nbytes for x in ready.rollout(steps) if isinstance(x, torch.Tensor)))
    return Thing(facts, "steps/s", steps * MILLION, partial(ready.rollout, steps, transitions=transitions), moved)


def make_kernel(env: str, steps: int) -> Thing:
    """The launch of `rollout` alone, without the sums that follow it."""
    ready = made(env, MILLION)
    facts = {"mode": "sim, every transition, the kernel alone", "env": env, "num_envs": MILLION, "steps": steps}
    call = partial(ready._stepper.at_random, ready._live(), 0, steps, True)
    moved = float(sum(x.nbytes for x in call()[1] if x is not None))
    return Thing(facts, "steps/s", steps * MILLION, call, moved)


def make_policy(env: str, precision: str) -> Thing:
    """The rollout kernel, into memory that is there already."""
    from gpusim.kernels.rollout_triton import collected

    num_envs, steps = MILLION // 8, 64
    learner, ready = trainer(env, num_envs=64, precision=precision), made(env, num_envs)
    acting = learner.fused.policy
    kept, clock = collected(steps, num_envs, acting), torch.zeros((), dtype=torch.int64, device="cuda")
    facts = {"mode": "sim + policy (2x64 tanh), one kernel", "env": env, "num_envs": num_envs, "steps": steps}
    call = partial(ready._stepper.with_policy, ready._live(), clock, acting, kept)
    return Thing(facts | {"precision": precision}, "steps/s", steps * num_envs, call)


def make_training(env: str, num_envs: int) -> Thing:
    learner = trainer(env, num_envs=num_envs, num_steps=64, epochs=4, minibatches=16)
    facts = {"mode": "PPO training, end to end", **described(learner), "steps": 64, "epochs": 4, "minibatches": 16}
    return Thing(facts, "steps/s", learner.config.steps_per_iteration, learner.iterate)


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

    from gpusim.agents.replay import Replay
    from gpusim.rollout import Rollout

    num_envs, (dtype, shape) = 4096, REPLAYED[kind]
    space = Box(0, 1, shape, dtype)
    device, alpha = torch.device("cuda"), 0.6 if prioritized else None
    kept = Replay(MILLION, num_envs, space, Discrete(6), 1, 0.99, alpha, device)
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
    from gpusim.agents.graph import Captured

    captured = Captured(call, torch.device("cuda"), generators)
    for _ in range(2):
        captured()
    return captured


def trainer(env: str, **settings: Any) -> Any:
    from gpusim.agents.ppo import PPO, Config

    return PPO(Config(env=env, device="cuda", hidden=(64, 64), activation="tanh", total_steps=10**12, **settings))


def described(learner: Any) -> dict[str, Any]:
    """What a row says of a learner; `path` is how its iteration runs."""
    facts = {"env": learner.config.env, "num_envs": learner.config.num_envs, "backend": learner.env.backend}
    return facts | {"path": learner.path}


def first_use() -> dict[str, float]:
    """Seconds from asking for CartPole's environments to the end of a PPO iteration, and of them Triton's compilation."""
    compiled: list[float] = []

    def listen(*, times: Any, cache_hit: bool, **_: Any) -> None:
        compiled.append(0.0 if cache_hit else times.total / 1e6)

    import triton

    torch.zeros(1, device="cuda")
    triton.knobs.compilation.listener = listen
    start = time.perf_counter()
    ready = made(CARTPOLE, 4096)
    ready.rollout(16, transitions=False)
    ready.rollout(16)
    trainer(CARTPOLE, num_envs=4096, num_steps=16).iterate()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "compile_s": sum(compiled), "kernels": sum(1 for s in compiled if s)}


# ------------------------------------------------------------------------------------------------------- measuring


def compete(things: list[Thing], rounds: int) -> list[dict[str, Any]]:
    """All in turn, `rounds` times, each time from another one on; shares of the copy's bandwidth, which comes first."""
    repeats = [prepare(thing) for thing in things]
    rates: list[list[float]] = [[] for _ in things]
    for number in range(rounds):
        turn = number * len(things) // rounds
        for i in (*range(turn, len(things)), *range(turn)):
            rates[i].append(things[i].work * repeats[i] / timed(things[i].call, repeats[i]))
    return [measured(thing, rate, rates[0]) for thing, rate in zip(things, rates, strict=True)]


def measured(thing: Thing, rates: list[float], bandwidth: list[float]) -> dict[str, Any]:
    """A row; where bytes are counted, with their rate and its share of the copy's in the same round."""
    row = figures(thing.facts, thing.unit, rates)
    if not thing.moved:
        return row
    moved = [thing.moved / thing.work * rate for rate in rates]
    shares = [m / b for m, b in zip(moved, bandwidth, strict=True)]
    return row | {"bytes_per_second": statistics.median(moved), "share_of_copy": summarize(shares)._asdict()}


def prepare(thing: Thing) -> int:
    """Warms up; how many calls fill a measurement."""
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


def run_section(name: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of a section, in this process; those that cannot be made say why."""
    if name in ("solve", "compile"):
        return SECTIONS[name]()
    things, rows = [make_copy()], list[dict[str, Any]]()
    for make in SECTIONS[name]():
        try:
            thing = make()
            prepare(thing)
            things.append(thing)
        except Exception as problem:
            facts = {"mode": name, "arguments": " ".join(map(str, make.args))}
            rows.append(failed(facts, f"{type(problem).__name__}: {problem}"[-2000:]))
    return compete(things, rounds) + rows


def in_a_process(name: str, rounds: int) -> list[dict[str, Any]]:
    """The same in a process of its own, which may die."""
    command = [sys.executable, __file__, "--sections", name, "--rounds", str(rounds), "--inside"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return [failed({"mode": name}, f"not done within {TIMEOUT} s")]
    if done.returncode:
        return [failed({"mode": name}, last_lines(done.stderr))]
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------------------- report


def publish(result: dict[str, Any], sections: dict[str, list], out: Path | None) -> Path:
    """Writes the result; sections of the same day and commit that were measured before stay."""
    folder = out or RESULTS / slug(hardware(result, result["device"]))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['date'][:10]}-{result['commit'] or 'unknown'}.json"
    before = json.loads(path.read_text())["sections"] if path.exists() else {}
    write_json(path, {**result, "sections": before | sections})
    return path


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for r in rows:
        name = ", ".join(str(r[k]) for k in ("mode", "env", "num_envs", "steps", "precision") if r.get(k) is not None)
        if r["median"] is None:
            yield f"  {name}: not measured: {r.get('error', 'not every seed got there')}"
            continue
        share = f", {r['share_of_copy']['median']:.2f} of a copy" if "share_of_copy" in r else ""
        yield f"  {name}: {r['median']:.4g} {r['unit']} ({r['low']:.4g} to {r['high']:.4g}){share}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--commit", help="what was measured, where no git tells")
    parser.add_argument("--out", type=Path, help="folder of the result file; default: benchmarks/results/GPU")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first-use", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if not torch.cuda.is_available():
        say(f"benchmarks/gpu.py needs a CUDA GPU, and torch {torch.__version__} finds none on this machine.")
        return 2
    if args.inside or args.first_use:
        print(json.dumps(first_use() if args.first_use else run_section(args.sections[0], args.rounds)))
        return 0
    result = {"device": "cuda:0", **provenance(), "rounds": args.rounds}
    result["commit"] = args.commit or result["commit"]
    broken = 0
    for name in args.sections:
        say(f"{name}:")
        rows = in_a_process(name, args.rounds)
        print("\n".join(lines(rows)), flush=True)
        path = publish(result, {name: rows}, args.out)
        broken += any("error" in r for r in rows)
    say(f"{path}" + (f"; {broken} of {len(args.sections)} sections have rows without a figure" if broken else ""))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
