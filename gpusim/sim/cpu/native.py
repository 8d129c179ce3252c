"""The CPU's own stepper: environments as C++, as many steps a call as are asked for."""

import ctypes
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusim import checks
from gpusim.book import Step, Tally
from gpusim.engine import Carry, Mode
from gpusim.env import Env
from gpusim.kernels.cpp import CompileError, loaded
from gpusim.kernels.lang import STREAM_INIT, Rng
from gpusim.kernels.mlp import mlp_problem
from gpusim.kernels.policy import MlpPolicy
from gpusim.policy import Policy
from gpusim.random_actions import unbounded
from gpusim.remember import by_env
from gpusim.rollout import SUMS, Rollout
from gpusim.sim.cpu import emit
from gpusim.sim.cpu.threads import Pace, on_threads
from gpusim.sim.cpu.tiles import LANES, Layout, Tiles, layout, tiled
from gpusim.sim.functional import OneByOne
from gpusim.sim.outputs import OutputBuffers

CALL = 0.2  # seconds of one call, so that an interrupt is heard
POINTERS = (
    "actions", "obs", "next_obs", "last_obs", "action", "reward", "terminated", "truncated", "reset", "valid",
    "ended", "ended_too", "episode_return", "episode_length", "episode_steps", "episodes", "return_sum", "length_sum",
)  # fmt: skip


class Job(ctypes.Structure):
    """As in job.h."""

    _fields_ = [
        ("tiles", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("next", "count", "num_envs", "steps", "clock")),
        ("seed", ctypes.c_uint64),
        ("begin", ctypes.c_void_p),
        ("wide", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_int64) for name in ("hidden1", "hidden2", "outputs", "gaussian", "relu")),
        *((name, ctypes.c_void_p) for name in ("weights", "mean", "scale", "centre", "half")),
        *((name, ctypes.c_void_p) for name in ("sample", "log_prob", "value", "next_value", "tables")),
    ]


class Native(OneByOne):
    """A stepper, see `gpusim.sim.protocol`, which steps in place.

    Raises:
        CompileError: there is no compiler, it fails, or the environment has no meaning in C++; the sentence says which.
    """

    def __init__(self, env: Env, mode: Mode, index: Tensor, params: Any):
        self.env, self.mode, self.index, self.num_envs = env, mode, index, len(index)
        self.buffers = OutputBuffers(env, mode.rules.autoreset, len(index), index.device)
        self.same, self.flat, self.discrete = self.buffers.same, self.buffers.flat, self.buffers.discrete
        self.numbers = type(params)(*(p if isinstance(p, int | float) else None for p in params))
        self.layout, self.state = _kinds(env, mode)
        self.run = _library(env, mode, self.numbers, "tell")
        self.tables = np.array([(x.data_ptr(), len(x)) for x in env.tables or ()], np.int64)
        self.tables_at = self.tables.ctypes.data
        self.before = np.empty(0, np.uint8)  # what the tiles held before a rollout
        self.paces: dict[Any, Pace] = {}  # of each kind of call
        self.settled: tuple[Carry | None, Tiles | None] = None, None  # as tensors, and the same as tiles

    def settle(self, c: Carry | Tiles) -> Carry:
        """As tensors."""
        if isinstance(c, Carry):
            return c
        whole = c.carry(self.num_envs, self.state, self.numbers)
        self.settled = whole, c
        return whole

    def _tiles(self, c: Carry | Tiles) -> Tiles:
        if isinstance(c, Tiles):
            return c
        whole, same = self.settled
        self.settled = None, None  # what comes of the tiles now is no longer that
        return same if c is whole and same else tiled(c, self.layout, self.index)

    def over(self, c: Carry | Tiles) -> Tensor:
        if isinstance(c, Carry):
            return c.book.terminated | c.book.truncated
        return (c.lane("terminated", self.num_envs) | c.lane("truncated", self.num_envs)) != 0

    def begin(self, c: Any, mask: Tensor) -> Tiles:
        """New episodes of the masked environments."""
        tiles = self._tiles(c)
        self._go(self.run, tiles, 0, 0, begin=mask.data_ptr())
        return tiles

    def observe(self, c: Any) -> Tensor:
        obs = self.buffers.obs()
        self._go(self.run, self._tiles(c), 0, 0, last_obs=obs.data_ptr())
        return self.buffers.shaped(obs)

    def step(self, c: Any, action: Any, observe: bool, tally: Tally | None) -> tuple[Tiles, Step, Tally | None]:
        tiles = self._tiles(c)
        given = torch.stack(action) if isinstance(action, tuple) else action.contiguous()
        out, counted = self.buffers.step(observe), tally and Tally(*(x.clone() for x in tally))
        wanted = out | {"actions": given} | (counted._asdict() if counted else {})
        self._go(self.run, tiles, 0, 1, wide=given.dtype is torch.int64, **_places(wanted))
        return tiles, self.buffers.as_step(out), counted

    def rollout(
        self, c: Any, clock: int, num_steps: int, policy: Policy | None, transitions: bool
    ) -> tuple[Tiles, Rollout] | None:
        if isinstance(policy, MlpPolicy) and transitions and self.holds(policy) and (run := self._made("act")):
            return self._by_policy(run, c, clock, num_steps, policy)
        return None if policy is not None else self._at_random(c, clock, num_steps, transitions)

    def _at_random(self, c: Any, clock: int, num_steps: int, transitions: bool) -> tuple[Tiles, Rollout]:
        space: Any = self.env.action_space
        if not (self.discrete or checks.bounded(space)):
            raise unbounded(space)
        kept = self.buffers.rollout(num_steps) if transitions else {}
        run = self.run if kept else self._made("count") or self.run
        tallied = self.buffers.tally().zero_()
        tiles = self._several(run, c, clock, num_steps, kept, _places(Tally(*tallied.unbind())._asdict()))
        return tiles, self._rolled(tiles, kept, num_steps, tallied)

    def holds(self, policy: MlpPolicy) -> bool:
        """Whether the policy can be inside the loop with the steps."""
        return self.same and self.flat and mlp_problem(policy.shape) is None

    def _made(self, kind: str) -> Any:
        """The library of that kind; None where it cannot be compiled any more, so that steps go on without."""
        try:
            return _library(self.env, self.mode, self.numbers, kind)
        except CompileError:
            return None

    def _by_policy(self, run: Any, c: Any, clock: int, num_steps: int, policy: MlpPolicy) -> tuple[Tiles, Rollout]:
        shape = policy.shape
        kept = self.buffers.rollout(num_steps)
        sample = kept["action"] if policy.centre is None else torch.empty_like(kept["action"])
        kept |= {"sample": sample} | {
            name: torch.empty_like(kept["reward"]) for name in ("log_prob", "value", "next_value")
        }
        tensors = {
            "weights": policy.flat.detach(),
            **{k: getattr(policy, k) for k in ("mean", "scale", "centre", "half")},
        }
        given = {k: x if x is None else x.contiguous() for k, x in tensors.items()}
        facts = {
            "hidden1": shape.hidden1, "hidden2": shape.hidden2, "outputs": shape.outputs, "gaussian": shape.gaussian,
            "relu": shape.activation == "relu",
        }  # fmt: skip
        tallied = self.buffers.tally().zero_()
        told = _places(given | Tally(*tallied.unbind())._asdict()) | facts
        tiles = self._several(run, c, clock, num_steps, kept, told)
        extras = {name: kept.pop(name) for name in ("log_prob", "value", "next_value")}
        extras["sample"] = kept.pop("sample") if self.discrete else kept.pop("sample").movedim(1, -1)
        return tiles, self._rolled(tiles, kept, num_steps, tallied, extras)

    def _rolled(self, tiles: Tiles, kept: dict, steps: int, tallied: Tensor, extras: dict | None = None) -> Rollout:
        sums = dict(zip(SUMS, tallied.sum(1, dtype=torch.float64).unbind(), strict=True))
        return Rollout(
            **self.buffers.as_transitions(kept, steps), extras=extras or {}, last_obs=self.observe(tiles), **sums
        )

    def _several(self, run: Any, c: Any, clock: int, steps: int, kept: dict[str, Tensor], told: dict) -> Tiles:
        """Steps in calls that are short; should they be interrupted, none was made."""
        tiles, done, n = self._tiles(c), 0, self.num_envs
        if self.before.shape != tiles.memory.shape:
            self.before = np.empty_like(tiles.memory)
        np.copyto(self.before, tiles.memory)
        try:
            while done < steps:
                some = min(steps - done, max(1, int(CALL / (n * self._pace(run, steps).least))))
                places = _places({name: x[done] for name, x in kept.items()})
                self._go(run, tiles, clock + done, some, **places, **told)
                done += some
        except BaseException:
            np.copyto(tiles.memory, self.before)
            raise
        return tiles

    def _pace(self, run: Any, steps: int) -> Pace:
        return self.paces.setdefault((id(run), min(steps, 2)), Pace())

    def _go(self, run: Any, tiles: Tiles, clock: int, steps: int, **told: int | None) -> None:
        """`steps` steps; `told` holds fields of `Job`."""
        count = -(-self.num_envs // LANES)
        job = Job(tiles.address, 0, count, self.num_envs, steps, clock, tiles.key, tables=self.tables_at, **told)
        work, pace = max(steps, 1) * self.num_envs, self._pace(run, steps)
        threads = pace.threads(work, min(torch.get_num_threads(), count))
        begun = perf_counter()
        on_threads(run, job, threads)
        pace.took(threads, perf_counter() - begun, work)


def _places(tensors: dict[str, Any]) -> dict[str, int]:
    """Addresses; of None, none."""
    return {name: x.data_ptr() for name, x in tensors.items() if x is not None}


@by_env
def _kinds(env: Env, mode: Mode) -> tuple[Layout, type]:
    """Of environments of this kind, found by beginning one."""
    one = torch.zeros(1, dtype=torch.int64, device="cpu")
    lanes = dict.fromkeys([*mode.per_env, *(name for name, _, _ in mode.random_params)], one.to(torch.float32))
    with torch.no_grad():
        state = env.init(Rng(0, one, one, 0, STREAM_INIT), env.with_tables(env.params._replace(**lanes)))
    return layout(state, mode), type(state)


def _library(env: Env, mode: Mode, numbers: Any, kind: str) -> Any:
    return _made(env, mode, numbers, kind, repr(numbers))  # 2 and 2.0, 0.0 and -0.0 are one key


@by_env
def _made(env: Env, mode: Mode, numbers: Any, kind: str, text: str) -> Any:
    of, state = _kinds(env, mode)
    try:
        source = emit.source(env, mode, numbers, of, state, kind)
    except Exception as error:
        raise CompileError(f"{env.id} has no meaning in C++: {error}") from error
    return loaded(source, env.id).run
