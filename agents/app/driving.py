"""A run as a command drives it: what is said before it, while it goes, and at its end."""

import contextlib
import math
import shlex
from typing import TYPE_CHECKING

from gpusim.agents.train import console, signals
from gpusim.errors import NotFinite

if TYPE_CHECKING:
    from gpusim.agents.train.config import RunConfig
    from gpusim.agents.train.learner import Learner
    from gpusim.agents.train.run import RunFolder


def tell_cost(config: "RunConfig") -> None:
    """What takes memory and time before anything is to be seen of a run."""
    from gpusim import checks
    from gpusim.agents.parts.world import here
    from gpusim.agents.train import budget
    from gpusim.agents.train.environments import compiles, describe

    config.check()
    share, device = config.share(here()), here().device(config.device)
    whose = "memory" if here().alone else "memory of each rank"
    console.say(f"{whose}: {budget.describe(share, describe(config.env), checks.device(device))}")
    if idle := getattr(config, "idle", None):
        console.warn(idle)
    if compiles(config.env, config.device, config.backend):
        console.say("compiling ...")


def drive(learner: "Learner", folder: "RunFolder", seconds: float) -> int:
    """Runs the learner with display and folder, and says how it ended."""
    from gpusim.agents.app.display import Display
    from gpusim.agents.train.environments import remark
    from gpusim.agents.train.loop import run

    env, config = learner.env, learner.config
    among = "" if learner.world.alone else f" on {learner.world.size} ranks"
    console.say(
        f"{remark(env)}{learner.task.id}: {config.num_envs} environments{among}, {env.backend} on {env.device}, "
        f"learning by {learner.path}; run folder {folder.path}"
    )
    try:
        try:
            with Display(config, learner.steps) as display:
                result = run(learner, (display, folder), seconds)
        finally:
            env.close()
    except NotFinite as error:
        raise folder.stop(error) from None
    except KeyboardInterrupt as stop:
        return _stopped(learner, folder, signals.exit_code(stop))
    if result.signal:
        code = _stopped(learner, folder, 128 + result.signal)
        with contextlib.suppress(KeyboardInterrupt):
            folder.close()
        return code
    return finish(learner, folder, result.metrics[-1]["seconds"], result.metrics, result.ending == "target")


def _stopped(learner: "Learner", folder: "RunFolder", code: int) -> int:
    if folder.gone:
        console.say(f"stopped at step {learner.steps:,}; {folder.path} is no longer there to go on with")
        return code
    kept = folder.newest_iteration() * learner.config.steps_per_iteration
    of_it = "" if kept == learner.steps else f" (from step {kept:,}, the last that was kept)"
    console.say(f"stopped at step {learner.steps:,}; go on with: {resume_command(folder)}{of_it}")
    return code


def resume_command(folder: "RunFolder") -> str:
    from gpusim.agents.folder.code import named

    return f"gpusim resume {shlex.quote(str(folder.path))}{' --trust' if named(folder.config) else ''}"


def finish(
    learner: "Learner", folder: "RunFolder", seconds: float, metrics: list[dict[str, float]], reached: bool
) -> int:
    """The closing evaluation; what comes of it is kept before it is said."""
    from gpusim.agents.train.evaluate import closing

    if reached:
        best, target = metrics[-1].get("return", math.nan), learner.config.target_return
        console.say(f"reached {best:.1f} (target {target:g}) in {seconds:.1f} s of training")
    try:
        result = closing(learner) | {"steps": learner.steps, "seconds": seconds}
        folder.close(result)
    except KeyboardInterrupt as stop:
        way = f"finish it with: {resume_command(folder)}"
        way = f"{folder.path} is no longer there to go on with" if folder.gone else way
        console.say(f"stopped in the closing evaluation, after all {learner.steps:,} steps; {way}")
        return signals.exit_code(stop)
    threshold = learner.task.reward_threshold
    solved = "solved" if threshold is not None and result["mean"] >= threshold else "not solved"
    verdict = "" if threshold is None else f" ({solved}: {threshold:g} is asked)"
    console.say(
        f"after {learner.steps:,} steps and {seconds:.1f} s the policy's mode scores {result['mean']:.1f} "
        f"± {result['std']:.1f} over {result['episodes']} episodes{verdict}"
    )
    if folder.lost:
        lost = ", ".join(f"{what} ({why})" for what, why in folder.lost.items())
        console.warn(f"not everything of {folder.path} was written: {lost}.")
    return 1 if folder.lost else 0
