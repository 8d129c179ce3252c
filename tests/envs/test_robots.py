"""Gymnasium's robots by MuJoCo Warp: one step of Gymnasium's own classes from injected states, and how their episodes begin.

Tolerances: float32 is all that differs. C MuJoCo, its own state disturbed by one rounding of float32, comes out as far from
itself (Humanoid, 99th percentile: places and speeds 2e-5, contact forces, which are small differences of great ones, 2e-4).
Most are slow: a model compiles for 5 to 20 seconds where nothing is cached.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from scipy import stats

import gpusim
from gpusim.adapters import to_numpy
from gpusim.agents import ppo
from gpusim.envs.mujoco_warp import ROBOTS
from gpusim.envs.mujoco_warp.ant import ANT, ant, fallen, observe, reward
from gpusim.envs.mujoco_warp.humanoid import HUMANOID, humanoid
from gpusim.envs.mujoco_warp.humanoid_standup import humanoid_standup
from gpusim.kernels.lang import STREAM_INIT, Rng
from gpusim.physics_trial import tried
from gpusim.sim.mujoco_model import Model, host_field, of_gymnasium
from gpusim.testing import check_vector_env
from gpusim.wrappers import NormalizeObservation
from tests.agents.test_run import assert_same_end
from tests.envs import robots
from tests.envs.pole import POLE
from tests.envs.test_vector import MODES, same

pytestmark = [
    pytest.mark.xdist_group("warp"),
    pytest.mark.filterwarnings("ignore:.*(Box|Overriding environment|render_fps)"),
]
each_robot = pytest.mark.parametrize("env", ROBOTS, ids=lambda env: env.id)
STATES = 200
ROOT = Path(__file__).resolve().parents[2]


def forces(env):
    """Which entries of an observation are contact forces."""
    found = np.zeros(env.observation_space.shape[0], bool)
    if count := getattr(env, "observation_structure", {}).get("cfrc_ext", 0):
        found[-count:] = True
    return found


def one_step(env, oracle, obs=2e-4, force=2e-3, money=1e-4, seed=0):
    """Holds `env` to one step of `oracle` from states of its random walks."""
    pairs = robots.states(oracle, STATES, seed=seed)
    found = robots.apart(robots.made(env, STATES), oracle, pairs)
    force_entries = forces(oracle)
    assert np.quantile(found.obs[:, ~force_entries].max(1), 0.99) < obs
    if force_entries.any():
        assert np.quantile(found.obs[:, force_entries].max(1), 0.99) < force
    assert np.quantile(found.reward, 0.99) < money
    assert not found.terminated.any()
    assert all(np.quantile(part, 0.99) < money for part in found.parts.values())
    return found


@pytest.mark.slow
@each_robot
def test_one_step_is_gymnasiums(env):
    oracle = robots.theirs(env.id)
    found = one_step(env, oracle)
    told = {name for name in oracle.step(oracle.action_space.sample())[4] if name.startswith("reward_")}
    assert told <= set(found.parts)
    if env.terminated is not None:
        assert found.over > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Ant", "Humanoid", "HumanoidStandup", "Pusher"])
def test_a_hundred_steps_stay_as_near_as_c_to_itself(name):
    """By medians over worlds of those that neither has ended; beside C from states disturbed by a rounding."""
    env = gpusim.spec(f"MuJoCo/{name}-v5")
    oracle = robots.theirs(env.id)
    datas = [data for data, _ in robots.states(oracle, 24, length=10, keep=1, seed=3)]
    ours = robots.many_steps(robots.made(env, 24), oracle, datas, 100)
    theirs = robots.disturbed(oracle, datas, 100)
    for step in (1, 10, 50, 100):
        both = [x[step - 1][np.isfinite(x[step - 1])] for x in (ours, theirs)]
        if min(map(len, both)) >= 6:
            assert np.median(both[0]) < 30 * np.median(both[1]) + 1e-5, step
    assert np.nanmedian(ours[9]) < 1e-3


FAULTS = {
    "gear": lambda: ANT.replace(model=geared(1.05)),
    "frame skip": lambda: ANT.replace(frame_skip=4),
    "sign": lambda: ANT.replace(reward=lambda *args: {k: -v for k, v in ANT.reward(*args).items()}),
    "healthy range": lambda: ANT.replace(params=ANT.params._replace(healthy_z_min=0.4)),
    "lag": lambda: ANT.replace(reward=lambda b, d, a, p: ANT.reward(Late(b), Late(d), a, p)),
}


class Late:
    """Places of the torso that do not lag."""

    def __init__(self, data):
        self.data = data

    def __getattr__(self, name):
        if name == "xpos":
            return self.data.qpos[:, None, :3].expand(-1, 14, -1)
        return getattr(self.data, name)


def geared(by):
    spec = mujoco.MjSpec.from_file(str(of_gymnasium("ant.xml")))
    for actuator in spec.actuators:
        actuator.gear = [actuator.gear[0] * by, *actuator.gear[1:]]
    return spec


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault):
    with pytest.raises(AssertionError):
        one_step(FAULTS[fault](), robots.theirs(ANT.id))


SWITCHED = {
    "ant": (ant, ["include_cfrc_ext_in_observation", "exclude_current_positions_from_observation"]),
    "ant that goes on": (ant, ["terminate_when_unhealthy"]),
    "humanoid": (humanoid, ["include_cinert_in_observation", "include_cvel_in_observation"]),
    "standing up": (
        humanoid_standup,
        ["include_qfrc_actuator_in_observation", "exclude_current_positions_from_observation"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("switched", SWITCHED)
def test_switches_are_gymnasiums(switched):
    make, off = SWITCHED[switched]
    options = dict.fromkeys(off, False)
    env = make(**options)
    oracle = robots.theirs(env.id, **options)
    assert env.observation_space.shape == oracle.observation_space.shape
    one_step(env, oracle, seed=5)


@pytest.mark.slow
def test_numbers_are_gymnasiums():
    numbers = {
        "forward_reward_weight": 2.0,
        "ctrl_cost_weight": 0.1,
        "contact_cost_weight": 1e-2,
        "healthy_reward": 3.0,
    }
    oracle = robots.theirs(ANT.id, **numbers, healthy_z_range=(0.5, 0.7), contact_force_range=(-0.5, 2.0))
    ours = numbers | {"healthy_z_min": 0.5, "healthy_z_max": 0.7, "contact_force_min": -0.5, "contact_force_max": 2.0}
    one_step(ANT.replace(params=ANT.params._replace(**ours)), oracle)


# -------------------------------------------------------------------------------------------------- without compiling


@each_robot
def test_it_declares_what_gymnasium_does(env):
    oracle = robots.theirs(env.id)
    spec = gymnasium_spec(env)
    assert env.observation_space.shape == oracle.observation_space.shape == (tried(env).width,)
    assert np.array_equal(env.action_space.low, oracle.action_space.low)
    assert np.array_equal(env.action_space.high, oracle.action_space.high)
    assert (env.max_episode_steps, env.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)
    assert env.frame_skip == oracle.frame_skip


def gymnasium_spec(env):
    import gymnasium

    return gymnasium.spec(env.id.rpartition("/")[2])


@each_robot
def test_episodes_begin_as_gymnasiums(env):
    """Places and speeds, each by its distribution (Kolmogorov and Smirnov), and none twice."""
    host, count = tried(env).host, 3000
    model = Model(host, env.frame_skip, env.id, lambda name: host_field(host, name, 1))
    index = torch.arange(count)
    drawn = env.begin(Rng(torch.tensor(9), index, torch.zeros_like(index), 0, STREAM_INIT), model, env.params)
    ours = np.concatenate([x.expand(count, -1).numpy() for x in drawn], 1)
    oracle = robots.theirs(env.id)
    theirs = []
    for i in range(600):
        oracle.reset(seed=i)
        theirs.append(np.concatenate([oracle.data.qpos, oracle.data.qvel]))
    for ours_column, theirs_column in zip(ours.T, np.array(theirs).T, strict=True):
        if theirs_column.std() == 0:
            assert np.allclose(ours_column, theirs_column[0])
        else:
            assert stats.ks_2samp(ours_column, theirs_column).pvalue > 1e-4
            assert len(set(ours_column.tolist())) > 0.9 * count  # float32 rounds what it is added to


# ------------------------------------------------------------------------------------------------------- as environments


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env", [ANT, HUMANOID], ids=lambda env: env.id)
def test_it_keeps_the_contract(env, mode):
    check_vector_env(gpusim.make(env, 4, device="cpu", autoreset_mode=mode, max_episode_steps=12))


@pytest.mark.slow
def test_an_episode_begins_with_the_observation_of_gymnasiums():
    """Contact forces are zero then, and what was computed for other worlds is none of it."""
    for env in (ANT, HUMANOID):
        venv, oracle = gpusim.make(env, 5, device="cpu", max_episode_steps=7), robots.theirs(env.id)
        venv.reset(seed=0)
        venv.rollout(7)
        obs = venv.observe()
        physics = venv.get_state().simulator.physics
        assert venv.begun().all()
        for i in range(5):
            mujoco.mj_resetData(oracle.model, oracle.data)
            oracle.set_state(*(physics[name][i].double().numpy() for name in ("qpos", "qvel")))
            expected = oracle._get_obs()
            assert (np.abs(obs[i].numpy() - expected) / (1 + np.abs(expected))).max() < 1e-5


@pytest.mark.slow
def test_ant_ends_at_a_thousand_steps():
    env = gpusim.make(ant(terminate_when_unhealthy=False), 2, device="cpu")
    env.reset(seed=0)
    rollout = env.rollout(1001)
    assert rollout.truncated[999].all()
    assert rollout.truncated.sum() == 2
    assert not rollout.terminated.any()


@pytest.mark.slow
def test_the_functions_of_ant_are_those_of_its_file():
    assert (ANT.observe.func, ANT.reward.func, ANT.terminated) == (observe, reward, fallen)


@pytest.mark.slow
def test_adapters_and_wrappers_take_it():
    env = to_numpy(gpusim.make(POLE, 4, device="cpu"))
    env.reset(seed=0)
    obs, *_ = env.step(env.action_space.sample())
    assert isinstance(obs, np.ndarray)
    wrapped = NormalizeObservation(gpusim.make(POLE, 4, device="cpu"))
    wrapped.reset(seed=0)
    assert wrapped.rollout(9).obs.isfinite().all()
    assert "reward_ctrl" in wrapped.step(torch.zeros(4, 1))[4]


def config(**kwargs):
    small = {"num_envs": 64, "num_steps": 64, "learning_rate": 1e-3, "epochs": 8, "seed": 1}
    return ppo.Config(env=POLE.id, **small | {"total_steps": 64 * 64 * 40} | kwargs)


@pytest.mark.slow
def test_ppo_learns_to_hold_the_pole():
    learner = ppo.PPO(config(), gpusim.make(POLE, 64, device="cpu"))
    first = learner.env.rollout(200)
    while learner.steps < learner.config.total_steps:
        learner.iterate()
    learner.env.reset(seed=9)
    last = learner.env.rollout(400, lambda obs: learner.network.act(obs, None))
    assert first.return_sum / first.episodes < 12
    assert last.return_sum / last.episodes > POLE.reward_threshold


@pytest.mark.slow
def test_a_learner_takes_up_where_another_has_stood():
    one, other = (ppo.PPO(config(), gpusim.make(POLE, 64, device="cpu")) for _ in "ab")
    for _ in range(3):
        one.iterate()
    other.load(one.state())
    for _ in range(2):
        assert same(one.iterate(), other.iterate())
    assert same(one.env.get_state(), other.env.get_state())


def test_the_page_has_a_row_for_each():
    page = (ROOT / "docs" / "own_robot.md").read_text()
    assert sorted(re.findall(r"^\| (\S+-v5) \|", page, re.MULTILINE)) == sorted(env.id for env in ROBOTS)


MINE = "import gpusim\nfrom tests.envs.pole import POLE\n\ngpusim.register(POLE)\n"


@pytest.mark.slow
def test_a_run_killed_and_resumed_ends_bit_for_bit_like_the_unbroken_one(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    small = ["--num-envs", "16", "--num-steps", "16", "--total-steps", "10240", "--checkpoint-every", "2"]

    def start(name):
        command = [
            sys.executable,
            "-m",
            "gpusim.agents",
            "train",
            "ppo",
            "mine.py:TestPole-v0",
            *small,
            "--run-dir",
            name,
        ]
        return subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})

    killed = start("killed")
    try:
        while not list((tmp_path / "killed" / "checkpoints").glob("*.pt")):
            assert killed.poll() is None
            time.sleep(0.02)
    finally:
        killed.kill()
        killed.wait()
    assert not (tmp_path / "killed" / "result.json").exists()
    resume = [sys.executable, "-m", "gpusim.agents", "resume", "killed", "--trust"]
    subprocess.run(resume, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    whole = start("whole")
    assert whole.wait() == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
