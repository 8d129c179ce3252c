"""Wheel and sdist, built and installed where nothing else is, train."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

from tests.pages import ROOT

TRY = """
import gpusim
from gpusim.agents import ppo

assert "site-packages" in gpusim.__file__, gpusim.__file__
result = ppo.train(ppo.Config(env="CartPole-v1", device="cpu", total_steps=4_096, num_envs=64))
print(gpusim.__version__, result.ending, len(gpusim.env_ids()))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist of the tree, and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_both_hold_all_three_levels_and_what_they_read(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    inside = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as tar:
        source = {name.partition("/")[2] for name in tar.getnames()}
    for folder in ("gpusim", "kernels", "agents"):
        files = {p.relative_to(ROOT) for pattern in ("*.py", "*.h", "*.toml") for p in (ROOT / folder).rglob(pattern)}
        names = {str(p) if folder == "gpusim" else f"gpusim/{p}" for p in files}
        assert names <= inside
        assert len(names) > 20
    assert {"README.md", "LICENSE", "pyproject.toml", "gpusim/env.py"} <= source


@pytest.mark.slow
def test_it_trains_where_nothing_else_is_installed(built, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python, (wheel,) = tmp_path / "venv" / "bin" / "python", built.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {
        "GPUSIM_CACHE": str(tmp_path / "cache")
    }
    done = subprocess.run([python, "-c", TRY], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version, ending, count = done.stdout.split()
    assert (version, ending) == ("0.1.0", "complete")
    assert int(count) > 30
    command = [tmp_path / "venv" / "bin" / "gpusim", "train", "ppo", "CartPole-v1"]
    refused = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert 'pip install "gpusim[train]"' in refused.stderr
