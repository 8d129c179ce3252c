"""Gymnasium's own robots beside ours: states of theirs, one step of both from each, and how far apart they come out."""

from typing import NamedTuple

import gymnasium
import mujoco
import numpy as np
import torch

import gpusim


class Apart(NamedTuple):
    """How far one step leads apart, for each state."""

    obs: np.ndarray  # [K, d] |error| / (1 + |x|)
    reward: np.ndarray  # [K] |error|
    terminated: np.ndarray  # [K] bool, whether they differ
    over: int  # how many of theirs are terminated
    parts: dict[str, np.ndarray]  # [K] |error| of each part of the reward that both tell


def theirs(id, **kwargs):
    """Gymnasium's environment of that id, solved by Newton's method where its model asks for PGS."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)  # HalfCheetah's model is of an older MuJoCo
    made = gymnasium.make(id.rpartition("/")[2], **kwargs).unwrapped
    mujoco.set_mju_user_warning(before)
    if made.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        made.model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return made


def rounded(data):
    """Their state, as float32 holds it."""
    for name in ("qpos", "qvel", "qacc_warmstart"):
        getattr(data, name)[:] = getattr(data, name).astype(np.float32)


def walk(env, rng, length):
    """Data of a random walk, one copy before each step, with the action that is taken then; it goes on after it is over."""
    env.reset(seed=int(rng.integers(2**31)))
    for _ in range(length):
        action = rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        rounded(env.data)
        yield mujoco.MjData.__copy__(env.data), action
        env.step(action)


def states(env, count, length=60, keep=4, seed=0):
    """`count` pairs of data and action, some of every random walk."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        walked = list(walk(env, rng, length))
        found += [walked[i] for i in sorted(rng.choice(length, keep, replace=False))]
    return found[:count]


def inject(venv, datas):
    """Puts their states into ours: what the integrator goes by, and what observations and rewards go by."""
    venv.reset(seed=0)
    state = venv.get_state()
    physics = dict(state.simulator.physics)
    seen = dict(state.simulator.seen)
    for group in (physics, seen):
        for name, like in group.items():
            stacked = np.stack([np.asarray(getattr(data, name)) for data in datas])
            group[name] = torch.from_numpy(stacked.reshape(like.shape)).to(like.dtype)
    venv.set_state(state._replace(simulator=state.simulator._replace(physics=physics, seen=seen)))


def apart(venv, env, pairs):
    """One step of both from each state."""
    inject(venv, [data for data, _ in pairs])
    actions = np.stack([action for _, action in pairs])
    _, reward, terminated, _, infos = venv.step(torch.from_numpy(actions))
    obs_apart, reward_apart, differ, over, parts = [], [], [], 0, {}
    for i, (data, action) in enumerate(pairs):
        env.data = mujoco.MjData.__copy__(data)
        theirs_obs, theirs_reward, theirs_over, _, theirs_info = env.step(action)
        ours = infos["final_obs"][i].numpy()
        obs_apart.append(relative(ours, theirs_obs))
        reward_apart.append(abs(float(reward[i]) - theirs_reward))
        differ.append(bool(terminated[i]) != bool(theirs_over))
        over += bool(theirs_over)
        for name in set(theirs_info) & set(infos):
            parts.setdefault(name, []).append(abs(float(infos[name][i]) - theirs_info[name]))
    told = {name: np.array(errors) for name, errors in parts.items()}
    return Apart(np.array(obs_apart), np.array(reward_apart), np.array(differ), over, told)


def relative(ours, theirs):
    return np.abs(ours - theirs) / (1.0 + np.abs(theirs))


def many_steps(venv, env, datas, steps, seed=1):
    """Both go on from the same states by the same actions: the errors as of `apart`, `[steps, K]`, of each world as long as
    neither is over."""
    rng = np.random.default_rng(seed)
    inject(venv, datas)
    worlds, alive = [mujoco.MjData.__copy__(data) for data in datas], np.ones(len(datas), bool)
    found = np.full((steps, len(datas)), np.nan)
    for t in range(steps):
        shape = (len(datas), *env.action_space.shape)
        actions = rng.uniform(env.action_space.low, env.action_space.high, shape).astype(np.float32)
        _, _, terminated, _, infos = venv.step(torch.from_numpy(actions))
        for i in alive.nonzero()[0]:
            env.data = worlds[i]
            obs, _, over, _, _ = env.step(actions[i])
            found[t, i] = relative(infos["final_obs"][i].numpy(), obs).max()
            alive[i] &= not (over or bool(terminated[i]))
    return found


def disturbed(env, datas, steps, seed=1):
    """As `many_steps`, of theirs beside itself from states that differ by a rounding of float32."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    worlds = [(mujoco.MjData.__copy__(data), mujoco.MjData.__copy__(data)) for data in datas]
    for _, other in worlds:
        for values in (other.qpos, other.qvel):
            values[:] += 6e-8 * noise.standard_normal(values.shape) * (1.0 + np.abs(values))
    found, alive = np.full((steps, len(datas)), np.nan), np.ones(len(datas), bool)
    for t in range(steps):
        shape = (len(datas), *env.action_space.shape)
        actions = rng.uniform(env.action_space.low, env.action_space.high, shape).astype(np.float32)
        for i in alive.nonzero()[0]:
            seen = []
            for data in worlds[i]:
                env.data = data
                seen.append(env.step(actions[i]))
            found[t, i] = relative(seen[1][0], seen[0][0]).max()
            alive[i] &= not (seen[0][2] or seen[1][2])
    return found


def made(env, count):
    """Ours, without a time limit."""
    return gpusim.make(env, count, device="cpu", max_episode_steps=-1, validate=False)
