"""Runs of every learner are killed, twenty times in all, and end as if they had not been; `make kills`: a hundred."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_runs_that_are_killed_and_resumed_end_like_unbroken_ones():
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.kills", "--kills", "20"], capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills: every run was resumed and ended like the unbroken one" in done.stdout
