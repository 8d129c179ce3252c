"""Writes benchmarks/REPORT.md from the result files, and the tables of README.md and docs/.

    python benchmarks/write_report.py

A section for each kind of result and, within it, one for each piece of hardware. What was not measured stays blank.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from readme import write_pages
from report import RESULTS

REPORT = RESULTS.parent / "REPORT.md"


class Section(NamedTuple):
    """One kind of result."""

    title: str
    name: str  # of its files
    command: str  # that makes them
    words: str


SECTIONS = (
    Section(
        "Environment steps per second, beside peers",
        "throughput",
        "python benchmarks/throughput.py",
        "All in one run on one machine, each in a process of its own, taking turns. A ratio is of the medians, with a 95 % "
        "bootstrap interval over the rounds.",
    ),
    Section(
        "Time to solve CartPole, beside peers",
        "time_to_solve",
        "python benchmarks/time_to_solve.py",
        "From the start of the process, compilation included, until the last 100 training episodes return 475.",
    ),
    Section(
        "Every mode, and the start",
        "modes",
        "python benchmarks/scaling.py",
        "What a figure means depends on what a step has to return.",
    ),
    Section("Scaling", "scaling", "python benchmarks/scaling.py", "From a thousand environments to a million."),
    Section("Memory", "memory", "python benchmarks/scaling.py", "Of the state, and at the peak of one `env.step`."),
    Section(
        "Scores",
        "ten_seeds",
        "python benchmarks/ten_seeds.py",
        "Ten seeds, no flags; 100 episodes by the policy's mode after training.",
    ),
    Section(
        "Many environments",
        "massive",
        "python benchmarks/massive.py",
        "The presets for thousands of environments, one seed.",
    ),
    Section(
        "Other trainers",
        "adapters",
        "python benchmarks/adapters.py",
        "Steps per second through each adapter, and what that costs against the bare environment.",
    ),
)


def main() -> None:
    REPORT.write_text(report())
    write_pages()
    print(f"wrote {REPORT.relative_to(RESULTS.parents[1])} and the tables of README.md and docs/")


def report(results: Path = RESULTS) -> str:
    """The report in Markdown."""
    machines = sorted(p for p in results.iterdir() if p.is_dir() and p.name != "kernels")
    lines = [
        "# Benchmarks",
        "",
        "Made from the files in `benchmarks/results` by `python benchmarks/write_report.py`; `make report` measures all "
        "that this machine can and then writes it. Speeds are read with their mode: see `gpusim bench --help`.",
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.title}", "", f"{section.words} `{section.command}`"]
        found = [m for m in machines if (m / f"{section.name}.md").exists()]
        for machine in found:
            lines += ["", *entry(machine, section, results)]
        if not any(on_gpu(m / f"{section.name}.json") for m in found):
            lines += ["", "On a GPU: not measured."]
    return "\n".join(lines) + "\n"


def on_gpu(facts: Path) -> bool:
    return facts.exists() and str(json.loads(facts.read_text()).get("device")).startswith("cuda")


def entry(machine: Path, section: Section, results: Path) -> list[str]:
    """A table with where it comes from, and its picture."""
    lines = [f"### {machine.name}", "", (machine / f"{section.name}.md").read_text().strip(), ""]
    facts = machine / f"{section.name}.json"
    if facts.exists():
        lines += [provenance(json.loads(facts.read_text())), ""]
    for picture in sorted(machine.glob(f"{section.name}.png")):
        shown = picture.relative_to(results.parent)
        lines += [f"![{section.title} on {machine.name}]({shown})", ""]
    return lines[:-1]


def provenance(facts: dict[str, Any]) -> str:
    """Hardware, versions, commit, command and date in one line, of what the file tells."""
    machine, versions = facts.get("hardware", {}), facts.get("versions", {})
    said = [
        f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gib')} GiB",
        *(machine.get("gpus") or ()),
        f"driver {machine['driver']}" if machine.get("driver") else "",
        *(f"{k} {v}" for k, v in versions.items() if v),
        f"{facts['torch_threads']} torch threads" if facts.get("torch_threads") else "",
        f"load {facts['load']} at the start" if facts.get("load") is not None else "",
        f"commit {facts.get('commit')}",
        f"`{facts.get('command')}`",
        str(facts.get("date", ""))[:10],
    ]
    return f"<sub>{'; '.join(s for s in said if s)}</sub>"


if __name__ == "__main__":
    main()
