"""Training from Python: a learner's run, in a folder or without one, and the same taken up again."""

from pathlib import Path
from typing import Any, NamedTuple

from gpusim.agents.parts.world import World, here
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.environments import Given
from gpusim.agents.train.evaluate import closing
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer, Result, on_target, run
from gpusim.agents.train.run import RunFolder, make_learner
from gpusim.errors import InputError, NotFinite


def trained(learner: Learner) -> Result:
    """The run of a new learner, in the folder that its configuration names, if it names one.

    Raises:
        InputError: the folder cannot be made.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    if not learner.world.first:
        return run(learner, (Attendant(),))
    if learner.config.run_dir is None:
        return run(learner)
    algorithm = type(learner).__module__.rpartition(".")[2]
    folder = RunFolder.create(learner.config.run_dir, algorithm, learner.config, learner)
    with folder.locked():
        return _run(learner, folder, 0.0)


def resume(
    path: str | Path,
    env: Given | None = None,
    *,
    device: str | None = None,
    total_steps: int | None = None,
    target_return: float | None = None,
    log_every: int | None = None,
    checkpoint_every: int | None = None,
    trust: bool = False,
) -> Result:
    """Goes on with the run in a folder from its newest checkpoint; one that is finished needs more `total_steps`.

    Args:
        path: the folder.
        env: environments as those that the run began on, where such were handed to it; None makes those it names.
        device, total_steps, target_return, log_every, checkpoint_every: None keeps what the run has.
        trust: whether to run the code of somebody's own that the folder names: its environment's, its script.

    Returns:
        The learner and all metrics of the run, of those before this call too.

    Raises:
        InputError: there is no such run, it cannot be taken up, or a setting cannot be used.
        NotFinite: a reward, an observation or a weight became NaN or infinite.
    """
    changes = {
        "device": device, "total_steps": total_steps, "target_return": target_return, "log_every": log_every,
        "checkpoint_every": checkpoint_every,
    }  # fmt: skip
    changes = {name: value for name, value in changes.items() if value is not None}
    if not here().first:
        return attend(here())
    folder = RunFolder.open(path)
    folder.require(env, "resume")
    with folder.locked():
        folder.config = RunFolder.open(path, **changes).config  # read again: whoever held the lock may have changed it
        folder.find_code(trust, ("env", "script") if env is None else ("script",))
        resumed = take_up(folder, changes, env)
        if not resumed.ended:
            return _run(resumed.learner, folder, resumed.seconds, resumed.metrics, changes)
        if not folder.closed(resumed.learner.steps):
            _close(resumed.learner, folder, resumed.seconds)
        return Result(resumed.learner, resumed.metrics, "target" if resumed.reached else "complete")


def begin(algorithm: str, config: RunConfig) -> Learner:
    """A new learner, on all ranks, of which this is the first."""
    world = here()
    world.told((algorithm, config))
    learner = make_learner(algorithm, config)
    world.told(None)  # there is no checkpoint
    world.told(False)  # nor has the run ended
    return learner


class Attendant(Observer):
    """What a rank does that has no folder to write: its part of every checkpoint."""

    def checkpoint(self, learner: Learner, metrics: list[dict[str, float]], seconds: float = 0.0) -> None:
        learner.state()


def attend(world: World) -> Result:
    """The part in a run of a rank that is not the first, which tells it what there is to do."""
    learner = make_learner(*world.told())
    state = world.told()
    if state is not None:
        learner.load(state)
    if world.told():  # it has ended
        return Result(learner, [], "complete")
    try:
        return run(learner, (Attendant(),))
    finally:
        learner.env.close()


class Taken(NamedTuple):
    """A run as it stands in its folder."""

    learner: Learner
    seconds: float  # spent so far
    metrics: list[dict[str, float]]  # its readings so far
    reached: bool  # whether its target is

    @property
    def ended(self) -> bool:
        return self.reached or self.learner.iteration >= self.learner.config.iterations


def take_up(folder: RunFolder, changes: dict[str, Any], env: Given | None = None) -> Taken:
    """The learner at the newest checkpoint, and the readings up to it; those after it are dropped.

    Args:
        changes: what the configuration has that is not the folder's.
        env: environments that are handed in.

    Raises:
        InputError: that cannot be made of the folder.
    """
    world = here()
    world.told((folder.algorithm, folder.config))
    learner = folder.make_learner(env)
    try:
        seconds = folder.restore(learner)
    except InputError as error:
        if folder.handed == learner.handed:
            raise
        raise InputError(f"{error} The run began on {folder.handed}, not on {learner.handed}.") from None
    if changes.get("total_steps", learner.steps) < learner.steps:
        raise InputError(f"{folder.path} has made {learner.steps:,} steps already: total_steps must be more.")
    metrics = folder.rewind(learner.iteration)
    taken = Taken(learner, seconds, metrics, any(on_target(learner, reading) for reading in metrics))
    world.told(taken.ended)
    return taken


def keep(folder: RunFolder, changes: dict[str, Any]) -> None:
    """Writes down what goes on differently from now on; a device is meant for this time alone."""
    if lasting := {name: value for name, value in changes.items() if name != "device"}:
        folder.change(**lasting)


def _run(
    learner: Learner,
    folder: RunFolder,
    seconds: float,
    metrics: list[dict[str, float]] | None = None,
    changes: dict[str, Any] | None = None,
) -> Result:
    keep(folder, changes or {})
    folder.stopped()
    try:
        result = run(learner, (folder,), seconds)
    except NotFinite as error:
        raise folder.stop(error) from None
    if result.ending == "interrupted":
        folder.close()
    else:
        _close(learner, folder, result.metrics[-1]["seconds"])
    return result._replace(metrics=(metrics or []) + result.metrics)


def _close(learner: Learner, folder: RunFolder, seconds: float) -> None:
    """With the closing evaluation."""
    folder.close(closing(learner) | {"steps": learner.steps, "seconds": seconds})
