"""The report: what runs leave in their folders and show when they are played, as one page."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpusim.agents.app import plot
from gpusim.agents.app.report.facts import Facts, facts, interval, machines, settings
from gpusim.agents.app.report.inline import drawn
from gpusim.agents.app.report.played import Asked, Played, played
from gpusim.agents.folder.drawing import METRICS, panels
from gpusim.agents.train.monitor import NAMES
from gpusim.errors import InputError
from gpusim.version import __version__

NO_CURVE = {"iteration", "steps", "seconds", "time", "return", *NAMES}
SIZE = (7.2, 3.4)  # inches of a curve


class Curve(NamedTuple):
    """A picture of the page."""

    title: str
    svg: str


class Group(NamedTuple):
    """Runs that differ in their seed alone."""

    env: str
    label: str
    runs: list[Facts]
    scores: str  # of their closing evaluations


def page(paths: Sequence[str | Path], asked: Asked, tell: Callable[[str], Any] = lambda sentence: None) -> str:
    """The HTML of a report about run folders, and folders that hold some.

    Args:
        asked: what is played for it.
        tell: told what is being done.

    Raises:
        InputError: a folder is no run and holds none, or is damaged.
    """
    by_env, notes = plot.by_environment(paths, "steps", "return")
    runs = {run.path: facts(run.path) for named in by_env.values() for group in named.values() for run in group}
    groups = [
        Group(env, label, [runs[run.path] for run in group], _scores([runs[run.path] for run in group]))
        for env, named in by_env.items()
        for label, group in named.items()
    ]
    shown = {group.runs[0].path for group in groups}
    plays = dict[Path, Played]()
    for number, path in enumerate(runs):
        tell(f"playing {path} ({number + 1} of {len(runs)})")
        plays[path] = played(path, asked, f"run{number}", path in shown)
    tell("drawing")
    same, differing = settings([*runs.values()])
    return _template().render(
        version=__version__,
        date=time.strftime("%Y-%m-%d %H:%M"),
        groups=groups,
        runs=[*runs.values()],
        plays=plays,
        asked=asked,
        notes=notes,
        curves=_curves(by_env, "return", "steps"),
        others=_others([*runs], [*runs.values()]),
        machine_curves=_machine_curves([*runs], [*runs.values()]),
        machines=machines(runs.values()),
        same=same,
        differing=differing,
    )


def _scores(group: list[Facts]) -> str:
    means = [float(run.result["mean"]) for run in group if isinstance(run.result.get("mean"), int | float)]
    if len(means) < 2:
        return ""
    return interval(means)


def _curves(by_env: dict[str, dict[str, list[plot.Run]]], metric: str, x: str) -> list[Curve]:
    """One for each environment."""

    def make(env: str, named: dict[str, list[plot.Run]]) -> Any:
        figure = panels(1, size=(SIZE[0], SIZE[1] + 0.2 * len(named)))
        plot.panel(figure.axes[0], env, named, x, metric)
        return figure

    title = METRICS.get(metric) or NAMES.get(metric) or metric
    return [
        Curve(f"{env}: {title}", drawn(lambda env=env, named=named: make(env, named), f"{metric}{number}"))  # type: ignore[misc]
        for number, (env, named) in enumerate(by_env.items())
    ]


def _others(paths: list[Path], runs: list[Facts]) -> list[Curve]:
    """Of what a learner tells beside the return."""
    names = dict.fromkeys(name for run in runs for name in (run.readings[-1] if run.readings else {}))
    return _each(paths, [name for name in names if name not in NO_CURVE], "steps")


def _machine_curves(paths: list[Path], runs: list[Facts]) -> list[Curve]:
    """Of what the machine did, against the time of training."""
    present = {name for run in runs for reading in run.readings for name in reading}
    return _each(paths, [name for name in NAMES if name in present], "seconds")


def _each(paths: list[Path], names: list[str], x: str) -> list[Curve]:
    curves = list[Curve]()
    for name in names:
        try:
            curves += _curves(plot.by_environment(paths, x, name)[0], name, x)
        except InputError:  # none of its values is finite
            continue
    return curves


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = FileSystemLoader(Path(__file__).parent)
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    environment = Environment(loader=found, autoescape=True, **options)
    environment.filters["capitalize_first"] = lambda words: words[:1].upper() + words[1:]
    return environment.get_template("page.html.jinja")
