"""Gymnasium's MuJoCo classes as oracles, states to ask them about, and the comparison of an `Env` with their answers."""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import torch

from gpusim import Env
from gpusim.kernels.lang import STREAM_INIT, Rng
from tests.envs.beside import oracle

mujoco.set_mju_user_warning(lambda text: None)  # of what its own models ask for; it would write a file


class Near(NamedTuple):
    """How near one step of float32 has to come, of errors relative to 1 + |x| over all entries of an observation, as
    quantiles: contacts that begin or end within the step move MuJoCo as much when its own input moves by a rounding."""

    median: float
    p99: float
    p999: float
    reward: float  # the greatest of p99


@dataclass(frozen=True, eq=False)
class MujocoOracle:
    """What is known of one of Gymnasium's robots, and of ours that is to be like it."""

    id: str
    near: Near
    names: dict[str, str]  # of an option that is called otherwise here, ours: Gymnasium's, with the place in a tuple
    noise: float  # the greatest disturbance of a rollout's beginning
    thresholds: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None  # of qpos and qvel, how far from an end
    changed: tuple[str, ...] = ()  # parameters of the physics

    @property
    def against(self) -> tuple[str, str]:
        """The source, and the name of the class in it."""
        return "Gymnasium", str(gymnasium.spec(self.id).entry_point).rpartition(":")[2]


PHYSICS = {
    "gravity": 7.5, "friction_scale": 0.75, "damping_scale": 1.5, "gear_scale": 0.625, "mass_scale": 1.25,
    "density": 3000.0, "viscosity": 0.5,
}  # fmt: skip
"""Values to give to both."""


def change(model: Any, name: str) -> None:
    """Gives a model the value of `PHYSICS`, where MuJoCo has it."""
    value = PHYSICS[name]
    if name == "gravity":
        model.opt.gravity[2] = -value
    elif name in ("density", "viscosity"):
        setattr(model.opt, name, value)
    else:
        fields = {
            "friction_scale": ["geom_friction"], "damping_scale": ["dof_damping"], "gear_scale": ["actuator_gear"],
            "mass_scale": ["body_mass", "body_inertia"],
        }[name]  # fmt: skip
        for field in fields:
            getattr(model, field)[:] *= value


def theirs(id: str, **options: Any) -> Any:
    """Gymnasium's environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(id, disable_env_checker=True, **options).unwrapped


class Answer(NamedTuple):
    """What one step gives, rows first."""

    qpos: np.ndarray
    qvel: np.ndarray
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


class Cases(NamedTuple):
    qpos: np.ndarray  # [M, n] float64 that float32 holds exactly
    qvel: np.ndarray
    action: np.ndarray  # [M, d] float32, some beyond their bounds
    expected: Answer


@functools.cache
def cases(env: Env, count: int = 2000, other: bool = False, exact: bool = False) -> Cases:
    """States of rollouts that nothing ends, under random and bang-bang controls that last, and single random steps.

    Args:
        other: whether both have the parameters of `PHYSICS`.
        exact: whether MuJoCo solves to the last bits.
    """
    known = oracle(env)
    made = theirs(known.id)
    made.reset(seed=0)
    for name in known.changed if other else ():
        change(made.model, name)
    if exact:
        made.model.opt.tolerance, made.model.opt.ls_tolerance, made.model.opt.iterations = 1e-14, 1e-8, 200
    random = np.random.default_rng(11)
    qpos, qvel = states(made, count, random, known.noise)
    action = random.uniform(-1.2, 1.2, (count, *made.action_space.shape)) * made.action_space.high
    action = action.astype(np.float32)
    return Cases(qpos, qvel, action, answers(made, qpos, qvel, action))


def states(made: Any, count: int, random: np.random.Generator, noise: float) -> Any:
    """`[count, n]` positions and rates."""
    m, d, found = made.model, made.data, []  # type: ignore[var-annotated]
    high = m.actuator_ctrlrange[:, 1]
    while len(found) < count:
        mujoco.mj_resetData(m, d)
        d.qpos[:] += random.uniform(-noise, noise, m.nq)
        d.qvel[:] = random.normal(size=m.nv) * noise
        bang, scale, left = random.random() < 0.5, random.choice([0.03, 0.1, 0.3, 1.0]), 0
        for _ in range(random.choice([15, 60, 240])):
            if left == 0:
                control = random.choice([-1.0, 1.0], m.nu) if bang else random.uniform(-1.0, 1.0, m.nu)
                d.ctrl[:], left = control * high * scale, random.integers(1, 12)
            left -= 1
            if random.random() < 0.2:
                found.append((d.qpos.copy(), d.qvel.copy()))
            mujoco.mj_step(m, d, made.frame_skip)
            if not np.abs(d.qvel).max() < 200.0:
                break
    some = [found[i] for i in random.permutation(len(found))[:count]]
    return tuple(np.array(column).astype(np.float32).astype(np.float64) for column in zip(*some, strict=True))


def answers(made: Any, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> Answer:
    rows = []
    for q, v, a in zip(qpos, qvel, action, strict=True):
        mujoco.mj_resetData(made.model, made.data)
        made.goal = q[-2:]  # which one of them has
        made.set_state(q, v)
        obs, reward, terminated, _, _ = made.step(a)
        rows.append((made.data.qpos.copy(), made.data.qvel.copy(), obs, reward, terminated))
    return Answer(*(np.array(column) for column in zip(*rows, strict=True)))


def put(env: Env, qpos: np.ndarray, qvel: np.ndarray, dtype: torch.dtype = torch.float32) -> Any:
    """The State of those rows; what it keeps beside positions and rates is 0."""
    begun = env.init(Rng(0, torch.zeros(1, dtype=torch.int64), 0, 0, STREAM_INIT), env.params)
    lanes = [torch.tensor(column, dtype=dtype) for column in (*qpos.T, *qvel.T)]
    return type(begun)(*lanes, *[torch.zeros_like(lanes[0])] * (len(begun) - len(lanes)))


def ours(env: Env, given: Cases, dtype: torch.dtype = torch.float32, params: Any = None) -> Answer:
    """The same step by `env`; in float64 its parameters are lanes, as a number would count as float32."""
    state = put(env, given.qpos, given.qvel, dtype)
    p = env.params if params is None else params
    if dtype == torch.float64:
        p = type(p)(*(torch.full_like(state[0], value) for value in p))
    lanes: Any = torch.tensor(given.action).to(dtype).unbind(1)
    new, reward, terminated = env.step(state, lanes[0] if len(lanes) == 1 else lanes, None, p)
    obs, n = torch.stack(env.observe(new, p), 1), given.qpos.shape[1]
    columns = (torch.stack(x, 1).double().numpy() for x in (new[:n], new[n : n + given.qvel.shape[1]]))
    return Answer(*columns, obs.double().numpy(), reward.double().numpy(), terminated.numpy())


class Errors(NamedTuple):
    obs: np.ndarray  # [M]
    reward: np.ndarray
    wrongly: np.ndarray  # whether one ended and the other did not, away from thresholds


def errors(env: Env, given: Cases, got: Answer) -> Errors:
    want, known = given.expected, oracle(env)
    obs = (np.abs(got.obs - want.obs) / (1.0 + np.abs(want.obs))).max(1)
    wrongly = got.terminated != want.terminated
    if known.thresholds is not None:
        wrongly &= known.thresholds(want.qpos, want.qvel) > 1e-4
    return Errors(obs, np.abs(got.reward - want.reward), wrongly)


def assert_parity(env: Env, given: Cases, got: Answer) -> Errors:
    """Refuses what is farther from the oracle than its `near`."""
    near, found = oracle(env).near, errors(env, given, got)
    assert not found.wrongly.any(), f"{env.id}: {found.wrongly.sum()} rows end wrongly"
    told = {"median": np.median(found.obs), "p99": np.quantile(found.obs, 0.99), "p999": np.quantile(found.obs, 0.999)}
    told["reward"] = np.quantile(found.reward, 0.99)
    for name, value in told.items():
        assert value <= getattr(near, name), f"{env.id}: {name} is {value:.1e}"
    return found
