"""A search over settings by Optuna: every trial is a run with a folder of its own, and several processes may share a study.

The study is a journal in the sweep's folder, which any machine that sees the folder can join. A trial is scored by the mean
return of its closing evaluation, and may be pruned by the returns that it has while it learns.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from gpusim.agents.folder.lock import locked
from gpusim.agents.train import training
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.evaluate import closing
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import RunFolder, make_learner
from gpusim.agents.train.signals import Stopped
from gpusim.agents.train.vary import Choice, Span
from gpusim.errors import InputError, NotFinite

JOURNAL = "study.journal"
SUPERFLUOUS = "superfluous"  # begun by one process when another had just begun the last
WHY = "why {}"  # the trial of that number failed

SAMPLERS: dict[str, Callable[[int | None], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
# Returns are reported by the hundredth of the run that they are from.
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=20),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=3),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=10, max_resource=100),
    "none": lambda: optuna.pruners.NopPruner(),
}


@dataclass(frozen=True)
class Sweep:
    """What is searched, and where it is kept."""

    path: Path
    command: str  # that two processes have to agree on
    algorithm: str
    varied: dict[str, Span | Choice]
    configured: Callable[[dict[str, Any]], RunConfig]  # of values that were chosen; raises InputError

    def study(self, sampler: BaseSampler | None = None, pruner: BasePruner | None = None) -> optuna.Study:
        """A new one, or that which is in the folder.

        Raises:
            InputError: the folder is another sweep's, or cannot be written to.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(self.path / JOURNAL)))
        except OSError as error:
            raise InputError(f"the folder {self.path} of a sweep cannot be made: {error.strerror}.") from None
        study = optuna.create_study(
            storage=storage,
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            sampler=sampler,
            pruner=pruner,
        )
        mine = {"command": self.command, "varied": json.loads(json.dumps(self.varied))}
        theirs = study.user_attrs.get("sweep", mine)
        if theirs != mine:
            raise InputError(
                f"{self.path} holds the sweep {theirs['command']!r}, varied over {theirs['varied']}: begin another in a "
                "folder of its own (--sweep-dir)."
            )
        study.set_user_attr("sweep", mine)
        return study

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {name: _distribution(what) for name, what in self.varied.items()}

    def folder(self, number: int) -> Path:
        return self.path / f"trial-{number:03}"


def _distribution(what: Span | Choice) -> BaseDistribution:
    if isinstance(what, Choice):
        return CategoricalDistribution(what.values)
    if what.whole:
        return IntDistribution(int(what.low), int(what.high), log=what.log)
    return FloatDistribution(what.low, what.high, log=what.log)


def work(sweep: Sweep, study: optuna.Study, trials: int, tell: Callable[[FrozenTrial], Any]) -> None:
    """Makes trials until the study has so many; first those are ended that another process has left.

    Args:
        tell: told of every trial that this process ends.

    Raises:
        KeyboardInterrupt: the trial at hand is left as it is, to be ended by whoever works on the study next.
    """
    for left in study.get_trials(states=(TrialState.RUNNING,)):
        _end_if_left(sweep, study, left, tell)
    while _count(study) < trials:
        trial = study.ask(sweep.distributions)
        with _held(sweep, trial.number) as mine:
            if not mine:  # another process saw it before it was locked, and makes it
                continue
            if _count(study, below=trial.number) >= trials:
                trial.set_user_attr(SUPERFLUOUS, True)
                study.tell(trial, state=TrialState.FAIL)
                return
            _make(sweep, study, trial.number, trial.params, Pruning(trial))
        tell(_named(study, trial.number))


def _count(study: optuna.Study, below: float = math.inf) -> int:
    return sum(t.number < below and SUPERFLUOUS not in t.user_attrs for t in study.get_trials(deepcopy=False))


def _named(study: optuna.Study, number: int) -> FrozenTrial:
    return next(t for t in study.get_trials() if t.number == number)


@contextmanager
def _held(sweep: Sweep, number: int) -> Iterator[bool]:
    """Whether this process has that trial; it is known by a lock, which ends with its holder."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(sweep.path / f"trial-{number:03}.lock", f"trial {number}"))
        except InputError:
            yield False
            return
        yield True


def _end_if_left(sweep: Sweep, study: optuna.Study, trial: FrozenTrial, tell: Callable[[FrozenTrial], Any]) -> None:
    with _held(sweep, trial.number) as mine:
        if not mine or _named(study, trial.number).state.is_finished():
            return
        _make(sweep, study, trial.number, trial.params, Observer())
    tell(_named(study, trial.number))


def _make(sweep: Sweep, study: optuna.Study, number: int, params: dict[str, Any], pruning: Observer) -> None:
    """A trial from its beginning, or from where its folder stands, to its end in the study."""
    try:
        score = _score(sweep, number, params, pruning)
    except optuna.TrialPruned:
        study.tell(number, state=TrialState.PRUNED)
    except (InputError, NotFinite) as error:
        study.tell(number, state=TrialState.FAIL)
        study.set_user_attr(WHY.format(number), str(error))
    else:
        study.tell(number, score)


def _score(sweep: Sweep, number: int, params: dict[str, Any], pruning: Observer) -> float:
    path = sweep.folder(number)
    if (path / "config.json").exists():
        return _resumed(path)
    config = sweep.configured(params | {"run_dir": str(path)})
    learner = make_learner(sweep.algorithm, config)
    folder = RunFolder.create(path, sweep.algorithm, config)
    with folder.locked():
        try:
            result = run(learner, (folder, pruning))
        except NotFinite as error:
            raise folder.stop(error) from None
        except optuna.TrialPruned:
            folder.close()
            raise
        finally:
            learner.env.close()
        if result.signal:
            folder.close()
            raise Stopped(result.signal)
        score = closing(learner)
        folder.close(score | {"steps": learner.steps, "seconds": result.metrics[-1]["seconds"]})
    return float(score["mean"])


def _resumed(path: Path) -> float:
    result = training.resume(path)
    if result.ending == "interrupted":
        raise Stopped(result.signal)
    return float(json.loads((path / "result.json").read_text())["mean"])


class Pruning(Observer):
    """Reports returns to a trial's study, and ends the run where the study's pruner says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial, self.told = trial, 0

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        """Raises TrialPruned."""
        part = learner.iteration * 100 // learner.config.iterations
        if math.isnan(metrics["return"]) or part <= self.told:
            return
        self.told = part
        self.trial.report(metrics["return"], part)
        if part < 100 and self.trial.should_prune():
            raise optuna.TrialPruned
