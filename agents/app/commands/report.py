"""`gpusim report`: one HTML file about runs."""

import dataclasses
import itertools
import math
from pathlib import Path

from gpusim.agents.app import arguments
from gpusim.agents.train import console
from gpusim.errors import InputError


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Report:
        """Writes one HTML file without external parts about runs, or folders of runs: curves with their intervals, scores
        here and in Gymnasium's own environment, a film, trajectories, settings, machine, and what was warned of."""

        out: str = "report.html"
        """File to write."""
        episodes: int = 30
        """So many are played by each run's policy, in Gymnasium's environment too where there is one; 0: none."""
        film: float = 15.0
        """Seconds of the film of one run of each kind; 0: none."""
        device: str = "auto"
        """auto, cpu, cuda or cuda:N, to play on."""
        trust: bool = False
        """Run the code of somebody's own that a folder names, its environment's."""

    paths = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
    if not paths:
        arguments.run_path(args, "report")
    asked = arguments.options(Report(), args[len(paths) :], "gpusim report RUN ...")
    arguments.named(asked, "out")
    if asked.episodes < 0:
        raise InputError(f"episodes must be at least 0, not {asked.episodes}.")
    if not 0 <= asked.film < math.inf:
        raise InputError(f"film must be a number of seconds, 0 or more, not {asked.film:g}.")
    out = Path(asked.out)
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"a report is an .html, and {out} is not.")
    from gpusim import checks
    from gpusim.agents.app.report.page import page
    from gpusim.agents.app.report.played import Asked
    from gpusim.agents.folder.files import write

    checks.device(asked.device)
    content = page(paths, Asked(asked.episodes, asked.film, asked.trust, asked.device), console.say)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out, content)
    except OSError as error:
        raise InputError(f"the report {out} cannot be written: {error.strerror}.") from None
    console.say(f"written: {out}, {len(content.encode()) / 2**20:.1f} MiB")
    return 0
