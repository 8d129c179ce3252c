"""Trajectories are those of `trajectories.json`; `python -m tests.golden.record` writes it anew."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests import interpreter
from tests.golden import cases, record
from tests.golden.fingerprint import fingerprint, machine, problem

RECORDED = record.recorded()
HERE = machine() == RECORDED["machine"]


@pytest.mark.parametrize("kind", ["eager", pytest.param("native", marks=pytest.mark.slow)])
def test_trajectories_are_what_they_were(kind):
    compare(record.trajectories(kind), RECORDED[kind])


@pytest.mark.slow
def test_kernels_go_where_they_went():
    if why := interpreter.problem():
        pytest.skip(why)
    command, variables = (
        [sys.executable, "-m", "tests.golden.record", "interpreted"],
        os.environ | {"TRITON_INTERPRET": "1"},
    )
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=interpreter.ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    compare(json.loads(done.stdout), RECORDED["triton"])


def compare(found, recorded):
    assert found.keys() == recorded.keys()
    problems = {name: problem(each, recorded[name], HERE) for name, each in found.items()}
    assert {name: why for name, why in problems.items() if why} == {}


@pytest.mark.parametrize("here", [True, False])
def test_another_trajectory_is_seen(here):
    """A flag that is another, a number that is another, a field that is gone."""
    case = dict(cases.of_eager())["eager CartPole-v1 same_step at random"]
    rollout, *rest = case()
    assert (
        problem(fingerprint((rollout, *rest)), RECORDED["eager"]["eager CartPole-v1 same_step at random"], here) is None
    )
    flag = rollout.terminated.clone()
    flag[3, 4] ^= True
    for changed in ({"terminated": flag}, {"reward": rollout.reward * 1.01}, {"action": rollout.action + 1}):
        other = fingerprint((rollout._replace(**changed), *rest))
        assert problem(other, fingerprint((rollout, *rest)), here)


def test_elsewhere_the_last_bits_may_differ():
    whole = {"obs": torch.rand(5, 3), "ended": torch.ones(5)}
    bits = whole | {"obs": torch.nextafter(whole["obs"], torch.tensor(9.0))}
    assert problem(fingerprint(bits), fingerprint(whole), same_machine=True)
    assert problem(fingerprint(bits), fingerprint(whole), same_machine=False) is None
