"""`gpusim resume`: goes on with a run."""

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from gpusim.agents.app import arguments
from gpusim.agents.app.driving import drive, finish, tell_cost
from gpusim.agents.train import console
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.train.learner import Learner
    from gpusim.agents.train.run import RunFolder


WAYS = ("detach", "trust")  # options that are no settings


def main(args: list[str]) -> int:
    from gpusim.agents.app.detach import detach, require_alone
    from gpusim.agents.train.ranges import Count, Number
    from gpusim.agents.train.run import RunFolder

    @dataclasses.dataclass(frozen=True)
    class Resume:
        """Goes on with a run from its newest checkpoint; one that is finished needs more --total-steps."""

        device: str | None = None
        """Another device than the run's, this time."""
        total_steps: Count | None = None
        """Environment steps in all, from now on; schedules that run over them (learning rate, exploration) are stretched."""
        target_return: Number | None = None
        """Another mean return at which to stop."""
        log_every: Count | None = None
        """Iterations between two readings of the metrics."""
        checkpoint_every: Count | None = None
        """Iterations between two checkpoints."""
        detach: bool = False
        """Go on in the background, which no terminal ends; what it says is in the run folder (gpusim logs)."""
        trust: bool = False
        """Run the code of somebody's own that the folder names: its environment's, its script."""

    path, rest = arguments.run_path(args, "resume")
    free = {f.name for f in dataclasses.fields(Resume)}
    if others := {arguments.field(word) for word in rest if word.startswith("--")} - free - {"help"}:
        _refuse_fixed(RunFolder.open(path), others, free)
    asked = arguments.options(Resume(), rest, f"gpusim resume {shlex.quote(path)}")
    changes = {name: value for name, value in vars(asked).items() if name not in WAYS and value is not None}
    folder = RunFolder.open(path)
    folder.require(None, "resume")
    if asked.detach:
        require_alone()
        with folder.locked():
            pass  # nobody else is at work on it
        return detach(folder, [word for word in rest if arguments.field(word) != "detach"])
    with folder.locked():
        folder.config = RunFolder.open(path, **changes).config  # read again: whoever held the lock may have changed it
        folder.find_code(asked.trust, tell=console.warn)
        return _go_on(folder, changes)


def _refuse_fixed(folder: "RunFolder", names: set[str], free: set[str]) -> None:
    """Raises InputError where a setting is to be changed on which stands what the run has learned."""
    known = {f.name for f in dataclasses.fields(folder.config)}
    for name in sorted((names | {name.removeprefix("no_") for name in names}) & known):
        raise InputError(
            f"{name} cannot be changed in a run, as what it has learned stands on it: begin another by "
            f"`gpusim train {folder.algorithm} {folder.config.env}`; a run that goes on can change "
            f"{', '.join(sorted(free & known))}."
        )


def _go_on(folder: "RunFolder", changes: dict[str, Any]) -> int:
    from gpusim.agents.train.training import keep, take_up

    folder.made(lambda: tell_cost(folder.config))
    resumed = take_up(folder, changes)
    learner, seconds, metrics, reached = resumed
    if resumed.ended:
        learner.env.close()
        if not folder.closed(learner.steps):
            return finish(learner, folder, seconds, metrics, reached)
        all_of_it = f"is complete: all {learner.steps:,} steps were made; --total-steps makes more of them."
        enough = f"reached its target after {learner.steps:,} steps; --target-return sets another."
        console.say(f"{folder.path} {enough if reached else all_of_it}")
        return 0
    keep(folder, changes)
    if before := folder.stopped():
        console.say(f"the run had stopped: {before}")
    stretched = ", its schedules stretched to the new total" if "total_steps" in changes and learner.iteration else ""
    console.say(f"going on from step {learner.steps:,}{stretched}{_afresh(learner)}")
    return drive(learner, folder, seconds)


def _afresh(learner: "Learner") -> str:
    from gpusim.agents.train.environments import on_host

    if not on_host(learner.env):
        return ""
    return " with new episodes: the state of the old ones went with their processes, so the unbroken run would end elsewhere"
