"""`gpusim plot`: learning curves, or an episode of one policy."""

import dataclasses
import itertools
import typing

from gpusim.agents.app import arguments
from gpusim.agents.train import console


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Plot:
        """Draws learning curves: runs that differ in their seed alone become one line with its interval."""

        out: str | None = None
        """File to write, .png, .pdf or .svg; None: curves.png, or trajectory.png."""
        x: typing.Literal["steps", "seconds", "iterations"] = "steps"
        """What the curves are drawn against."""
        metric: str = "return"
        """Any name that metrics.jsonl has."""
        trajectory: bool = False
        """Draw an episode of one run's policy instead: state and action against time."""
        seed: int = 1_000_000
        """Of that episode."""
        trust: bool = False
        """For that episode, run the code of somebody's own that the folder names, its environment's."""

    paths = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
    if not paths:
        arguments.run_path(args, "plot")
    asked = arguments.options(Plot(), args[len(paths) :], "gpusim plot RUN ...")
    arguments.named(asked, "out")
    arguments.require(args[len(paths) :], asked, trajectory=("seed", "trust"))
    from gpusim.agents.app.plot import compare
    from gpusim.agents.folder.drawing import save

    if asked.trajectory:
        if len(paths) > 1:
            arguments.refuse("--trajectory draws one run: gpusim plot runs/... --trajectory")
        from gpusim import checks
        from gpusim.agents.app import trajectory
        from gpusim.agents.train.evaluate import load_policy

        policy = load_policy(paths[0], True, "cpu", asked.trust, console.warn)
        notes: list[str] = []
        figure = trajectory.picture(trajectory.play(policy, checks.seed(asked.seed)), policy.env)
    else:
        figure, notes = compare(paths, asked.x, asked.metric)
    out = asked.out or ("trajectory.png" if asked.trajectory else "curves.png")
    save(figure, out)
    print("\n".join([*notes, f"drawn: {out}"]))
    return 0
