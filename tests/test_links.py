"""A copy of the tree that has lost its two links."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy(tmp_path):
    """What an unpacker leaves that knows no links: files with their targets in them."""
    for folder in ("kernels", "agents", "gpusim"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kernels", "agents"):
        target = (tmp_path / "gpusim" / name).readlink()
        (tmp_path / "gpusim" / name).unlink()
        (tmp_path / "gpusim" / name).write_text(str(target))
    return tmp_path


def imported(folder):
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import gpusim.agents.ppo; print(gpusim.kernels.__file__)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)


def test_it_is_told_in_a_sentence(copy):
    done = imported(copy)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: gpusim/kernels and gpusim/agents should be links to the folders of that name")


def test_what_the_sentence_says_helps(copy):
    commands = imported(copy).stderr.partition("again, by ")[2].partition(", and install")[0]
    subprocess.run(commands, shell=True, cwd=copy, check=True)
    done = imported(copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(copy / "gpusim" / "kernels" / "__init__.py")
