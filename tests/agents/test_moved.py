"""Modules by the names that they had before agents/ got its rooms."""

import importlib
import pickle
import subprocess
import sys

import pytest

import gpusim.agents.train.evaluate
from gpusim.agents.moved import MOVED
from gpusim.agents.train.run import preset


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_the_old_name_is_the_same_module_and_says_so_once(old, new):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"^{old} is {new} now; the old name goes with gpusim 0.2.$") as told:
        module = importlib.import_module(old)
    assert module is importlib.import_module(new) is importlib.import_module(old)
    assert len(told) == 1
    assert module.__spec__.name == module.__name__ == new


def test_the_warning_points_to_who_imports():
    sys.modules.pop("gpusim.agents.evaluate", None)
    with pytest.warns(DeprecationWarning, match="goes with gpusim 0.2") as told:
        from gpusim.agents.evaluate import evaluate
    assert told[0].filename == __file__
    assert evaluate is gpusim.agents.train.evaluate.evaluate


def test_as_names_of_the_package():
    sys.modules.pop("gpusim.agents.run", None)
    vars(gpusim.agents).pop("run", None)
    with pytest.warns(DeprecationWarning, match="goes with gpusim 0.2"):
        from gpusim.agents import run
    assert run.preset is preset


def test_other_names_are_not_there():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'gpusim.agents.never'"):
        importlib.import_module("gpusim.agents.never")


def test_pickles_that_name_them_are_read():
    text = pickle.dumps(preset, protocol=0).replace(b"gpusim.agents.train.run", b"gpusim.agents.run")
    sys.modules.pop("gpusim.agents.run", None)
    with pytest.warns(DeprecationWarning, match="goes with gpusim 0.2"):
        assert pickle.loads(text) is preset


def test_a_script_that_was_installed_before_runs():
    code = "import sys; sys.argv = ['gpusim', 'envs']; from gpusim.agents.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=False)
    assert "CartPole-v1" in done.stdout
    assert "gpusim.agents.cli is gpusim.agents.app.cli now" in done.stderr
