"""An algorithm is one file of `agents/`: nothing else has to know of it."""

import importlib
import sys

import pytest

import gpusim.agents
from gpusim.agents.app.cli import main
from gpusim.agents.train import discovery
from gpusim.errors import InputError

HILL = '''"""Random search: weights that are drawn anew, and kept where the last episodes were better."""

from dataclasses import dataclass
from typing import Any

import torch

from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Result
from gpusim.agents.train.ranges import Count
from gpusim.agents.train.training import trained


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Settings of hill."""

    num_steps: Count = 20
    """Steps of every environment with the same weights."""

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps


class Hill(Learner):
    best = -1.0

    def learning_rate(self) -> float:
        return 1.0

    def iterate(self) -> dict[str, torch.Tensor]:
        before = self.optimizer.flat.clone()
        self.optimizer.flat += torch.randn(before.shape, generator=self.generator)
        reward = self.collect(self.config.num_steps).reward.mean()
        if reward <= self.best:
            self.optimizer.flat.copy_(before)
        self.best = max(self.best, float(reward))
        self.iteration += 1
        return {"reward": reward}


LEARNER = Hill


def train(config: Config, env: Any = None) -> Result:
    return trained(Hill(config, env))
'''


def gpusim_(*args):
    """The exit code."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


@pytest.fixture
def hill(tmp_path, monkeypatch):
    """The algorithm of that name, as if its file lay in agents/."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "hill.py").write_text(HILL)
    monkeypatch.setattr(gpusim.agents, "__path__", [*gpusim.agents.__path__, str(tmp_path / "more")])
    importlib.invalidate_caches()
    yield
    sys.modules.pop("gpusim.agents.hill", None)
    vars(gpusim.agents).pop("hill", None)


def test_those_there_are():
    assert discovery.algorithms() == ("a2c", "dqn", "ppo", "pqn", "reinforce", "sac", "td3")


def test_none_other_is_imported():
    with pytest.raises(
        InputError, match="no algorithm is called 'learner'; there are a2c, dqn, ppo, pqn, reinforce, sac, td3"
    ):
        discovery.module("learner")


def test_another_is_one_file(hill, tmp_path, capsys):
    assert discovery.algorithms() == ("a2c", "dqn", "hill", "ppo", "pqn", "reinforce", "sac", "td3")
    assert gpusim_("--help") == 0
    assert "train a2c, dqn, hill, ppo, pqn, reinforce, sac or td3 on an environment" in capsys.readouterr().out
    assert gpusim_("train", "hill", "CartPole-v1", "--help") == 0
    assert "Steps of every environment with the same weights." in capsys.readouterr().out
    sizes = ["--num-envs", "4", "--num-steps", "30", "--total-steps", "600", "--checkpoint-every", "2"]
    assert gpusim_("train", "hill", "CartPole-v1", *sizes, "--run-dir", tmp_path / "run") == 0
    assert "after 600 steps" in capsys.readouterr().out
    assert gpusim_("resume", tmp_path / "run", "--total-steps", "960") == 0
    assert "after 960 steps" in capsys.readouterr().out
    assert gpusim_("eval", tmp_path / "run", "--episodes", "3") == 0
    assert gpusim_("plot", tmp_path / "run", "--out", tmp_path / "curve.png") == 0


def test_without_its_file_its_runs_are_refused(tmp_path, capsys):
    assert gpusim_("train", "hill", "CartPole-v1") == 2
    assert "no algorithm is called 'hill'" in capsys.readouterr().err
