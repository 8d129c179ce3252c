"""What became of each test, a line of JSON as soon as it is known, so that a run that is cut off keeps what it knows.

OUTCOMES=FILE PYTHONPATH=benchmarks python -m pytest -p outcomes ...  # writes
python benchmarks/outcomes.py FILE  # names, one a line, the tests that failed, or were not reached
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

MOST = 4000  # letters of what a failure says


def write(record: dict[str, Any]) -> None:
    with open(os.environ["OUTCOMES"], "a") as file:
        file.write(json.dumps(record) + "\n")


def pytest_collection_finish(session: pytest.Session) -> None:
    if not in_a_worker() and getattr(session, "items", None):
        write({"collected": [item.nodeid for item in session.items]})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    if node.gateway.id == "gw0":  # all have the same
        write({"collected": ids})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Of a test its call; of what is before and after it only what is amiss."""
    if not in_a_worker() and (report.when == "call" or not report.passed):
        record = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 3)}
        write(record | ({"says": report.longreprtext[-MOST:]} if report.failed else {}))


def in_a_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


def again(path: Path) -> list[str]:
    """The tests that failed, or were not reached."""
    collected: dict[str, None] = {}
    outcomes: dict[str, str] = {}
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):  # cut off
            break
        record = json.loads(line)
        collected |= dict.fromkeys(record.get("collected", ()))
        if "test" in record and outcomes.get(record["test"]) != "failed":
            outcomes[record["test"]] = record["outcome"]
    return [test for test in collected if outcomes.get(test, "failed") == "failed"]


if __name__ == "__main__":
    for name in again(Path(sys.argv[1])):
        print(name)
