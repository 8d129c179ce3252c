"""`gpusim bench`: how fast this machine steps an environment, in which mode, with compilation counted apart."""

import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

import gpusim
from gpusim import checks
from gpusim.agents.machine import Machine, probe
from gpusim.agents.networks import ActorCritic
from gpusim.errors import InputError
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from gpusim.vector import VectorEnv

Mode = Literal["sim", "transitions", "policy", "step"]
MODES: dict[str, str] = {
    "sim": "rollout, random actions, only statistics returned",
    "transitions": "rollout, random actions, every transition returned",
    "policy": "rollout, an actor and a critic of 2x64 tanh units, every transition returned",
    "step": "env.step, actions drawn beforehand, observations and infos returned",
}


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """How fast this machine steps an environment; auto-reset and episode statistics are on, nothing is trained."""

    env: str = "CartPole-v1"
    """Id of the environment."""
    num_envs: int = 65_536
    """Environments that step together."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    backend: str = "auto"
    """eager, compile, triton, or auto (eager on the CPU, on a GPU triton where it can be)."""
    mode: Mode = "sim"
    """What a step returns: statistics only, every transition (by random actions, or by a policy), or all that env.step
    gives."""
    steps: int = 32
    """Steps in one call of rollout, or calls of env.step between two readings of the clock."""
    rounds: int = 7
    """Measurements, of which the median is reported."""
    seconds: float = 0.3
    """Least length of a measurement [s]."""
    json: Path | None = None
    """File to write the result to."""


class Rate(NamedTuple):
    """Environment steps per second over the rounds of a measurement."""

    median: float
    low: float  # of the slowest round
    high: float  # of the fastest


class Bench(NamedTuple):
    """A measurement that has been prepared: compiled and warmed up, ready for its rounds."""

    env: VectorEnv
    call: Callable[[], Any]  # makes `work` environment steps
    work: int
    repeats: int  # calls in a round
    first_s: float  # the first call, compilation included [s]


def bench(config: BenchConfig) -> dict[str, Any]:
    """Measures, prints and returns the result: figures with their mode, hardware, versions, commit and command.

    Raises:
        InputError: a field of `config` cannot be used, or the file's folder is not there.
    """
    check(config)
    origin = provenance(probe())
    ready = prepare(config)
    rates = [measure(ready) for _ in range(config.rounds)]
    result = {
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        "device": str(ready.env.device),
        "backend": ready.env.backend,
        "mode": MODES[config.mode],
        "steps_per_second": rates,
        **summarize(rates)._asdict(),
        "first_call_s": ready.first_s,
        **origin,
    }
    print("\n".join(lines(result)))
    if config.json:
        write_json(config.json, result)
    return result


def check(config: BenchConfig) -> None:
    """Refuses, before anything is measured, what `gpusim.make` does not check itself."""
    checks.positive("steps", config.steps)
    checks.positive("rounds", config.rounds)
    if config.mode not in MODES:
        raise InputError(f"mode {config.mode!r} is not known; use {', '.join(MODES)}.")
    if not 0 < config.seconds < math.inf:
        raise InputError(f"seconds must be a positive number, not {config.seconds}.")
    if config.json and not config.json.absolute().parent.is_dir():
        raise InputError(f"cannot write {config.json}: the folder {config.json.parent} does not exist.")


def prepare(config: BenchConfig) -> Bench:
    """Makes the environment, compiles it, and finds how many calls fill a round."""
    env = gpusim.make(config.env, config.num_envs, device=config.device, backend=config.backend)
    env.reset(seed=0)
    call = caller(env, config.mode, config.steps)
    first_s = seconds_of(call, env.device)
    seconds_of(call, env.device)
    once = min(seconds_of(call, env.device) for _ in range(2))
    return Bench(env, call, config.steps * env.num_envs, max(1, math.ceil(config.seconds / once)), first_s)


def caller(env: VectorEnv, mode: str, steps: int) -> Callable[[], Any]:
    """A function that takes `steps` steps of `env` in that mode."""
    if mode == "policy":
        policy = untrained(env)
        return lambda: env.rollout(steps, policy)
    if mode != "step":
        return lambda: env.rollout(steps, transitions=mode == "transitions")
    drawn = gpusim.make(env.env, env.num_envs, device=env.device, backend="eager")
    drawn.reset(seed=0)
    actions = drawn.rollout(steps).action
    assert actions is not None

    def step_all() -> None:
        for action in actions:
            env.step(action)

    return step_all


def untrained(env: VectorEnv) -> MlpPolicy:
    """A policy with two hidden layers of 64 units, as PPO begins with.

    Raises:
        InputError: its observations are images.
    """
    observations: Any = env.single_observation_space
    if len(observations.shape or ()) != 1:
        raise InputError(f"mode policy needs a vector observation, which {env.env.id} has not.")
    network = ActorCritic(
        observations, env.single_action_space, (64, 64), "tanh", False, 0.0, torch.Generator().manual_seed(0)
    )
    network = network.to(env.device)
    shape = MlpShape.of(observations, env.single_action_space)
    flat = torch.cat([p.detach().flatten() for p in network.parameters()])
    stretch = () if network.discrete else (None, None, network.action_centre, network.action_half)
    return MlpPolicy(flat, shape, *stretch)


def measure(ready: Bench) -> float:
    """One round: environment steps per second."""

    def calls() -> None:
        for _ in range(ready.repeats):
            ready.call()

    return ready.work * ready.repeats / seconds_of(calls, ready.env.device)


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """How long a call takes until the device has finished [s]."""
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summarize(rates: list[float]) -> Rate:
    return Rate(statistics.median(rates), min(rates), max(rates))


def lines(result: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    config = result["config"]
    median, low, high = (f"{result[k] / 1e6:,.2f}" for k in Rate._fields)
    load = [f"  load        {result['load']:.1f}: this machine was busy, so it can do more"] if busy(result) else []
    return [
        f"{config['env']}, {config['num_envs']:,} environments on {hardware(result, result['device'])}",
        f"  backend     {result['backend']}",
        f"  mode        {config['mode']}: {result['mode']}; auto-reset and episode statistics on",
        f"  speed       {median} M steps/s, the median of {config['rounds']} rounds ({low} to {high})",
        f"  first call  {result['first_call_s']:.2f} s, compilation included (compiler caches as they were found)",
        *load,
    ]


def busy(result: dict[str, Any]) -> bool:
    """Whether others were using this machine: the load average when the measurement began, against its cores."""
    return (result["load"] or 0.0) > 0.25 * result["hardware"]["cores"]


def hardware(result: dict[str, Any], device: str) -> str:
    """The name of what was measured: the GPU, or the processor and its cores."""
    facts = result["hardware"]
    if device.startswith("cuda"):
        return facts["gpus"][torch.device(device).index or 0]
    return f"{facts['processor']}, {facts['cores']} cores"


def provenance(m: Machine) -> dict[str, Any]:
    """What a figure has to be read with: hardware, versions, commit, command and time."""
    return {
        "hardware": {
            "processor": m.processor,
            "cores": m.cores,
            "memory_gib": round(m.memory_gib or 0, 1),
            "gpus": [g.name for g in m.gpus],
            "driver": m.driver,
        },
        "versions": {
            "gpusim": gpusim.__version__,
            "python": m.python,
            "torch": m.torch,
            "cuda": m.torch_cuda,
            "triton": m.triton,
            "gymnasium": m.gymnasium,
        },
        "torch_threads": m.torch_threads,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "commit": commit(),
        "command": command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """The commit of the checkout that gpusim runs from, "-dirty" if files have changed since; None outside of one."""
    root = Path(gpusim.__file__).resolve().parents[1]
    git = ["git", "-C", str(root)]
    try:
        top = subprocess.run([*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout
        if Path(top.strip()).resolve() != root:
            return None
        named = subprocess.run([*git, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True)
        return named.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def command() -> str:
    """The command line, without the folders of this machine."""
    program = Path(sys.argv[0])
    if program.suffix != ".py":
        return shlex.join([program.name, *sys.argv[1:]])
    here = Path.cwd()
    shown = program.resolve().relative_to(here) if program.resolve().is_relative_to(here) else program.name
    return shlex.join(["python", str(shown), *sys.argv[1:]])


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(part, path)
