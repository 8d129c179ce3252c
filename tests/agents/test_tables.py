"""Runs on environments with tables: the folder knows which they were."""

import json
from dataclasses import replace

import pytest

import gpusim
from gpusim.agents import load_policy, ppo, resume
from gpusim.errors import InputError
from gpusim.tables import digest
from tests.envs.table_toys import STAIR, tables

SETTINGS = {
    "num_envs": 6, "num_steps": 16, "minibatches": 2, "hidden": (16,), "total_steps": 192, "checkpoint_every": 1,
    "log_every": 1,
}  # fmt: skip
OTHER = {"cost": tables(seed=4).cost}


def made(changed=None):
    return gpusim.make(STAIR, 6, device="cpu", tables=changed)


def run(path, env):
    return ppo.train(ppo.Config(env=env.task.id, run_dir=str(path), **SETTINGS), env)


def test_a_folder_keeps_what_its_tables_hold(tmp_path):
    run(tmp_path / "a", made())
    run(tmp_path / "b", made(OTHER))
    run(tmp_path / "c", gpusim.make("CartPole-v1", 6, device="cpu"))
    a, b, c = (json.loads((tmp_path / name / "config.json").read_text())["tables"] for name in "abc")
    assert a == digest(STAIR)
    assert {name for name in a if a[name] != b[name]} == {"cost"}
    assert c is None


def test_others_are_refused(tmp_path):
    run(tmp_path / "a", made())
    assert resume(tmp_path / "a", made(), total_steps=288).learner.steps == 288
    with pytest.raises(
        InputError, match=f"the table 'cost' holds something else than when the run in {tmp_path}/a began"
    ):
        resume(tmp_path / "a", made(OTHER), total_steps=384)
    both = OTHER | {"open": tables(seed=4).open}
    with pytest.raises(InputError, match="the tables 'cost' and 'open' hold something else"):
        resume(tmp_path / "a", made(both), total_steps=384)
    assert load_policy(tmp_path / "a", env=made(OTHER)).env.id == "Stair-v0"  # data that training never saw


@pytest.mark.filterwarnings("ignore:.* is registered again")
def test_a_task_that_is_named_has_its_own(tmp_path):
    """What is played by the name alone is what was learned on."""
    named = replace(STAIR, id="Named-v0")
    gpusim.register(named)
    ppo.train(ppo.Config(env="Named-v0", device="cpu", run_dir=str(tmp_path / "a"), **SETTINGS))
    load_policy(tmp_path / "a", trust=True)
    gpusim.register(replace(named, tables=named.tables._replace(**OTHER)))
    for again in (
        lambda: load_policy(tmp_path / "a", trust=True),
        lambda: resume(tmp_path / "a", total_steps=288, trust=True),
    ):
        with pytest.raises(InputError, match="'cost' holds something else"):
            again()
