"""The tests that did not pass, from pytest's `--junitxml`, as pytest takes them: one a line.

python benchmarks/failed_tests.py RESULTS/tests.xml
"""

import sys
import xml.etree.ElementTree as tree
from pathlib import Path


def failed(path: Path) -> list[str]:
    """Their ids, `folder/file.py::name`."""
    cases = tree.parse(path).getroot().iter("testcase")
    bad = (case for case in cases if any(child.tag in ("failure", "error") for child in case))
    return [f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}" for case in bad]


if __name__ == "__main__":
    for name in failed(Path(sys.argv[1])):
        print(name)
