"""Puts the result tables into README.md and the page of trainers, where two comments name the file a table comes from.

    <!-- results: benchmarks/results/HARDWARE/throughput.md -->
    ...
    <!-- end of results -->

python benchmarks/readme.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def filled(text: str, root: Path = ROOT) -> str:
    """`text` with every block holding what its file holds; blocks whose file is not there stay as they are."""

    def fill(match: re.Match[str]) -> str:
        file = root / match[2]
        return f"{match[1]}{file.read_text().strip()}\n{match[3]}" if file.is_file() else match[0]

    return BLOCK.sub(fill, text)


def write_readme() -> None:
    for name in ("README.md", "README.zh-CN.md", "docs/trainers/index.md"):
        if (ROOT / name).is_file():
            (ROOT / name).write_text(filled((ROOT / name).read_text()))


if __name__ == "__main__":
    write_readme()
