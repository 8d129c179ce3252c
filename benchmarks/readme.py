"""Puts the result tables into README.md and the pages of docs/, where two comments name the file a table comes from.

    <!-- results: benchmarks/results/HARDWARE/throughput.md -->
    ...
    <!-- end of results -->

The table of environments is made of what there is, where tests can run:

    <!-- environments -->
    ...
    <!-- end of environments -->

llms.txt lists all pages.

python benchmarks/readme.py
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
FOUND = re.compile(r"(<!-- environments -->\n).*?(<!-- end of environments -->)", re.DOTALL)
HEAD = "| id | observation | actions | time limit | checked against |\n|---|---|---|---:|---|"


def filled(text: str, root: Path = ROOT) -> str:
    """`text` with every block holding what its file holds; blocks whose file is not there stay as they are."""

    def fill(match: re.Match[str]) -> str:
        file = root / match[2]
        return f"{match[1]}{file.read_text().strip()}\n{match[3]}" if file.is_file() else match[0]

    return BLOCK.sub(fill, text)


def told(text: str) -> str:
    """`text` with the table of environments that there are."""
    return FOUND.sub(lambda match: f"{match[1]}{environments()}\n{match[2]}", text)


def environments() -> str:
    """A row for each file; what else it has are other versions of the same."""
    first: dict[str, Env] = {}
    for env in ENVIRONMENTS:
        first.setdefault(env.init.__module__, env)
    return "\n".join([HEAD, *map(row, first.values())])


def row(env: Env) -> str:
    sys.path.insert(0, str(ROOT))
    from tests.envs.beside import oracle

    source, name = oracle(env).against
    sizes, space = "×".join(map(str, env.observation_space.shape)), env.action_space
    cells = (
        env.id,
        f"image, {sizes}" if len(env.observation_space.shape) > 1 else sizes,
        str(space.n) if isinstance(space, Discrete) else f"continuous, {space.shape[0]}",
        str(env.max_episode_steps or "none"),
        f"{source}'s `{name}`" if source else f"a reference in NumPy, `{name}`",
    )
    return f"| {' | '.join(cells)} |"


def write_pages(made: Callable[[str], str] = filled) -> None:
    for page in (*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")):
        if (text := page.read_text()) != (new := made(text)):
            page.write_text(new)


def contents() -> str:
    """llms.txt: what gpusim is, and the titles of all pages."""
    about = " ".join((ROOT / "README.md").read_text().split("\n\n")[2].split())
    lines = ["# gpusim", "", f"> {about}", "", "## Pages", "", "- [README](README.md)"]
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if not {"_build", "api"} & set(page.parts) and page.name != "index.md":
            title = page.read_text().partition("\n")[0].removeprefix("# ")
            lines.append(f"- [{title}]({page.relative_to(ROOT)})")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_pages(lambda text: told(filled(text)))
    (ROOT / "llms.txt").write_text(contents())
