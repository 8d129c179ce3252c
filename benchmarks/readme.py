"""Puts the result tables into README.md and the page of trainers, where two comments name the file a table comes from.

    <!-- results: benchmarks/results/HARDWARE/throughput.md -->
    ...
    <!-- end of results -->

The table of environments is made of what there is, in the language of the page, where tests can run:

    <!-- environments: en -->
    ...
    <!-- end of environments -->

python benchmarks/readme.py
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gymnasium.spaces import Discrete

from gpusim.env import Env
from gpusim.envs import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
FOUND = re.compile(r"(<!-- environments: (\w+) -->\n).*?(<!-- end of environments -->)", re.DOTALL)


class Words(NamedTuple):
    """What a language calls things; `{}` is filled in."""

    head: str
    image: str
    continuous: str
    unlimited: str
    against: str
    reference: str


LANGUAGES = {
    "en": Words(
        "| id | observation | actions | time limit | checked against |",
        "image, {}",
        "continuous, {}",
        "none",
        "{}'s `{}`",
        "a reference in NumPy, `{}`",
    ),
    "zh": Words(
        "| id | 观测 | 动作 | 时限 | 对照 |", "图像，{}", "连续，{}", "无", "{} 的 `{}`", "NumPy 参考实现 `{}`"
    ),
}


def filled(text: str, root: Path = ROOT) -> str:
    """`text` with every block holding what its file holds; blocks whose file is not there stay as they are."""

    def fill(match: re.Match[str]) -> str:
        file = root / match[2]
        return f"{match[1]}{file.read_text().strip()}\n{match[3]}" if file.is_file() else match[0]

    return BLOCK.sub(fill, text)


def told(text: str) -> str:
    """`text` with the table of environments that there are."""
    return FOUND.sub(lambda match: f"{match[1]}{environments(LANGUAGES[match[2]])}\n{match[3]}", text)


def environments(words: Words) -> str:
    """A row for each file; what else it has are other versions of the same."""
    first: dict[str, Env] = {}
    for env in ENVIRONMENTS:
        first.setdefault(env.init.__module__, env)
    return "\n".join([words.head, "|---|---|---|---:|---|", *(row(env, words) for env in first.values())])


def row(env: Env, words: Words) -> str:
    sys.path.insert(0, str(ROOT))
    from tests.envs.beside import oracle

    source, name = oracle(env).against
    sizes, space = "×".join(map(str, env.observation_space.shape)), env.action_space
    cells = (
        env.id,
        words.image.format(sizes) if len(env.observation_space.shape) > 1 else sizes,
        str(space.n) if isinstance(space, Discrete) else words.continuous.format(space.shape[0]),
        str(env.max_episode_steps or words.unlimited),
        words.against.format(source, name) if source else words.reference.format(name),
    )
    return f"| {' | '.join(cells)} |"


def write_readme(made: Callable[[str], str] = filled) -> None:
    for name in ("README.md", "README.zh-CN.md", "docs/trainers/index.md"):
        if (ROOT / name).is_file():
            (ROOT / name).write_text(made((ROOT / name).read_text()))


if __name__ == "__main__":
    write_readme(lambda text: told(filled(text)))
