"""What is wrong with a run, each in a sentence, as its readings tell: what was measured, what it means, what helps.

Every rule looks at columns of readings, `[P]` float64 with NaN where a reading has no such figure, and is silent where it
cannot know. What it takes as wrong is said beside it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gpusim.agents.app.display import clock

FEW = 8  # readings of the machine from which a tendency is fitted
LEARNING = 40  # readings of the learner from which one can say that it stands still
MOST = 400  # points that a line is fitted to
MIB = 2**10  # a GiB's
LOSSES = ("loss", "value", "critic", "q", "total", "policy", "actor", "error")  # metrics of which a size is looked at


class Run(NamedTuple):
    """What the rules are told of a run."""

    readings: Sequence[dict[str, float]]  # oldest first
    total: int = 0  # environment steps in all
    threshold: float | None = None  # mean return at which the task counts as solved
    stopped: str | None = None  # the sentence of a run that met a number that is none
    device: str = "cpu"
    backend: str = ""
    memory_total: float = math.nan  # GiB of the host

    def column(self, name: str) -> np.ndarray:
        """`[P]`."""
        return np.array([reading.get(name, math.nan) for reading in self.readings], float)

    def columns(self, *names: str) -> np.ndarray:
        """`[len(names), P]`, of the readings in which all of them are numbers."""
        found = np.array([self.column(name) for name in names])
        return found[:, np.isfinite(found).all(0)]


def diagnose(run: Run) -> list[str]:
    """The sentences, the worst first; none where nothing is seen to be wrong."""
    return [sentence for rule in RULES if (sentence := rule(run))]


def not_finite(run: Run) -> str | None:
    """A run that has stopped for it, or a newest reading whose losses are no numbers."""
    if run.stopped:
        return f"A number was none: {run.stopped}"
    if not run.readings:
        return None
    last = run.readings[-1]
    if lost := [name for name in LOSSES if math.isnan(last.get(name, 0.0))]:
        since = next(r["iteration"] for r in run.readings if math.isnan(r.get(lost[0], 0.0)))
        return (
            f"{lost[0]} is NaN since iteration {since:,}: nothing is learned any more; try a smaller --learning-rate."
        )
    return None


def exploding(run: Run) -> str | None:
    """The greatest weight, ten times what it was in the middle of the run and more than 100; or a loss, a thousand times."""
    for name, times, least, what in (
        ("greatest_weight", 10, 100.0, "the greatest weight of the network"),
        *((name, 1000, 1e3, f"the metric {name}") for name in LOSSES),
    ):
        iteration, values = run.columns("iteration", name)
        values = np.abs(values)
        if len(values) < FEW:
            continue
        before = float(np.median(values[: max(FEW // 2, len(values) // 2)]))
        if values[-1] > max(times * before, least):
            since = int(iteration[np.flatnonzero(values > max(times * before, least) / 2)[0]])
            return (
                f"Numbers explode: {what} is {values[-1]:.3g}, and was {before:.3g}; it grows since about iteration "
                f"{since:,}. Try a smaller --learning-rate or --max-grad-norm."
            )
    return None


def slowed_by_heat(run: Run) -> str | None:
    """A fifth of the newest readings' time."""
    share, temperature, clock_now = run.columns("gpu_slowed_by_heat", "gpu_temperature", "gpu_clock_mhz")[:, -FEW:]
    if not len(share) or share.mean() < 0.2:
        return None
    often = f"in {100 * share.mean():.0f} % of the time" if len(share) > 2 else "now"
    return (
        f"Heat slows the GPU down: {often} its clock is held back, at {temperature.mean():.0f} °C and "
        f"{clock_now.mean():,.0f} MHz. See to its cooling."
    )


def memory_grows(run: Run) -> str | None:
    """A slope, fitted over the last two thirds of the readings, that nearly all of them follow."""
    for name, what in (
        ("torch_memory_gib", "tensors on the GPU"),
        ("process_memory_gib", "the process on the host"),
    ):
        iteration, seconds, memory = run.columns("iteration", "seconds", name)
        iteration, seconds, memory = (x[len(x) // 3 :] for x in (iteration, seconds, memory))
        if len(memory) < FEW:
            continue
        per_iteration, agreement = slope(iteration, memory)
        grown = per_iteration * (iteration[-1] - iteration[0])
        if agreement < 0.8 or grown < max(16 / MIB, 0.02 * memory[0]):
            continue
        full = run.memory_total if name.startswith("process") else math.nan
        left = (full - memory[-1]) / (grown / max(seconds[-1] - seconds[0], 1e-9))
        end = f"; at this rate the host's {full:.0f} GiB are full in {clock(left)}" if math.isfinite(left) else ""
        return (
            f"Memory grows: {what} took {memory[0]:.2f} GiB at iteration {iteration[0]:,.0f} and {memory[-1]:.2f} GiB at "
            f"{iteration[-1]:,.0f}, {_mib(1000 * per_iteration)} per 1,000 iterations{end}. Something is kept that "
            "should be let go: look for lists that grow, and tensors that hold a graph."
        )
    return None


def _mib(gib: float) -> str:
    """1.3 MiB, or 2,100."""
    return f"{gib * MIB:,.0f} MiB" if gib * MIB >= 10 else f"{gib * MIB:.2g} MiB"


def waits_for_the_host(run: Run) -> str | None:
    """A GPU that is at work less than half of the time, while its process takes most of a core."""
    work, core = run.columns("gpu_utilization", "process_cpu")[:, -3 * FEW :]
    if not run.device.startswith("cuda") or len(work) < 3 or np.median(work) >= 50:
        return None
    told = f", and the process takes {np.median(core):.0f} % of a core" if np.median(core) > 60 else ""
    way = "more --num-envs" if run.backend == "triton" else "more --num-envs, or --backend triton where it can be had,"
    return (
        f"The GPU waits for the host: it is at work {np.median(work):.0f} % of the time{told}. Give it more to do at once: "
        f"{way} makes launches fewer per step."
    )


def stopped_learning(run: Run) -> str | None:
    """A return that lost half of what was learned; unsolved, one that never rose, or stands for the whole second half."""
    steps, mean_return = run.columns("steps", "return")
    if len(steps) < LEARNING:
        return None
    blocks = np.array([part.mean() for part in np.array_split(mean_return, 10)])
    first, best, now = blocks[0], blocks.max(), blocks[-1]
    rose = best - first
    if rose > 0.1 * max(abs(best), abs(first)) and best - now > 0.5 * rose:
        at = int(steps[len(steps) * int(blocks.argmax()) // 10])
        return (
            f"The learner unlearns: the return was {best:.4g} about step {at:,} and is {now:.4g}. Earlier checkpoints are "
            "better; try a smaller --learning-rate, or stop at --target-return."
        )
    if steps[-1] < 0.3 * run.total or (run.threshold is not None and now >= run.threshold):
        return None
    if _never_rose(run, blocks):
        return (
            f"Nothing is learned: the return is {now:.4g} after {int(steps[-1]):,} steps, and was {first:.4g} in the "
            f"beginning{_asked(run)}.{_why(run)}"
        )
    late, scale = blocks[5:], max(blocks.max() - blocks.min(), 0.02 * abs(float(np.median(blocks))), 1e-9)
    if late.max() - late.min() > 0.05 * scale:
        return None
    return (
        f"The learner has stopped learning: the return stands at {now:.4g} since step {int(steps[len(steps) // 2]):,}"
        f"{_asked(run)}.{_why(run)}"
    )


def _never_rose(run: Run, blocks: np.ndarray) -> bool:
    """No tendency from beginning to end, nor a tenth of the way to what is asked."""
    if run.threshold is None or slope(np.arange(10.0), blocks)[1] > 0.3:
        return False
    begun = blocks[:2].mean()
    return bool(blocks[5:].mean() - begun <= 0.1 * (run.threshold - begun))


def _asked(run: Run) -> str:
    return "" if run.threshold is None else f", and {run.threshold:g} is asked"


def _why(run: Run) -> str:
    """What else the readings say of it."""
    entropy = run.columns("entropy")[0]
    if len(entropy) and 0 <= entropy[-1] < 0.05 * entropy[0]:
        return (
            f" The policy hardly explores now (entropy {entropy[-1]:.2g}, of {entropy[0]:.2g}): raise --entropy-coef."
        )
    kl = run.columns("kl")[0]
    if len(kl) and abs(float(np.median(kl[-FEW:]))) < 1e-6:
        return " Updates hardly change the policy (kl is 0): raise --learning-rate."
    return ""


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The median slope between any two points (Theil, 1950; Sen, 1968), which single ones do not move, and Kendall's tau: 1
    where every later value is greater, 0 where as many are smaller."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST)).round().astype(int))
    i, j = np.triu_indices(len(chosen), 1)
    dx, dy = (v[chosen][j] - v[chosen][i] for v in (x, y))
    apart = dx > 0
    if not apart.any():
        return 0.0, 0.0
    return float(np.median(dy[apart] / dx[apart])), float(np.sign(dy[apart]).mean())


RULES: tuple[Callable[[Run], str | None], ...] = (
    not_finite,
    exploding,
    slowed_by_heat,
    memory_grows,
    waits_for_the_host,
    stopped_learning,
)
