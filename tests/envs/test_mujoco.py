"""Our planar robots are Gymnasium's in MuJoCo: numbers, options, beginnings, one step from anywhere, and a hundred."""

import dataclasses
import inspect
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import gpusim
from gpusim import InputError, Uniform, checks
from gpusim.envs.mujoco import MUJOCO, planar
from gpusim.envs.mujoco.emitted import text
from gpusim.envs.mujoco.robot import stepped
from gpusim.envs.mujoco.tree import Tree
from gpusim.fill import Recipe
from gpusim.kernels import cpp, launch
from gpusim.kernels.lang import STREAM_INIT, Rng
from gpusim.kernels.lower import operations
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.offline import compile_for
from gpusim.kernels.policy import MlpPolicy
from gpusim.testing import check_vector_env
from tests import interpreter
from tests.envs.beside import oracle
from tests.envs.mujoco_oracle import (
    PHYSICS,
    Cases,
    answers,
    assert_parity,
    cases,
    errors,
    ours,
    put,
    theirs,
)
from tests.envs.test_parity import furthest_apart

each_robot = pytest.mark.parametrize("env", MUJOCO, ids=lambda e: e.id)
PLACED = [env for env in MUJOCO if hasattr(sys.modules[env.init.__module__], "observe_all")]
each_placed = pytest.mark.parametrize("env", PLACED, ids=lambda e: e.id)
FALLING = [env for env in MUJOCO if "terminate_when_unhealthy" in env.params._fields]
MODES = ["same_step", "next_step", "disabled"]
COSTLY = 10_000  # operations of a step


def slow_if_costly(env):
    """Eagerly each costs a NumPy call, however few environments there are."""
    return pytest.param(env, marks=[pytest.mark.slow] if operations(env.step) > COSTLY else [])


each_cheap = pytest.mark.parametrize("env", list(map(slow_if_costly, MUJOCO)), ids=lambda e: e.id)


def file(env):
    """The module of a robot."""
    return sys.modules[env.init.__module__]


def near(ours, theirs, within=1e-12):
    np.testing.assert_allclose(ours, theirs, within, within)


def flat(env, place):
    """A place of MuJoCo's in the robot's plane."""
    return np.asarray(place)[["xyz".index(axis) for axis in file(env).ROBOT.plane]]


@each_robot
def test_declaration_is_gymnasiums(env):
    made, spec = theirs(oracle(env).id), gymnasium.spec(oracle(env).id)
    assert env.observation_space.shape == made.observation_space.shape
    assert np.isinf(made.observation_space.high).all()
    assert env.action_space == made.action_space
    assert env.max_episode_steps == spec.max_episode_steps
    assert env.reward_threshold == spec.reward_threshold
    assert env.render.fps == made.metadata["render_fps"]


@each_robot
def test_options_are_gymnasiums(env):
    """Every one that is a number is a parameter of the same default, and every parameter is an option, or physics."""
    signature = inspect.signature(type(theirs(oracle(env).id)).__init__).parameters
    defaults = {k: p.default for k, p in signature.items() if isinstance(p.default, int | float | tuple)}
    skipped = {"frame_skip", "exclude_current_positions_from_observation", "default_camera_config"}
    wanted = {k: v for k, v in defaults.items() if k not in skipped}
    for name, value in env.params._asdict().items():
        option, _, which = oracle(env).names.get(name, name).partition(" ")
        if option in PHYSICS:
            continue
        theirs_ = wanted[option][int(which)] if which else wanted[option]
        assert value == theirs_ or (theirs_ == math.inf and value > 1e6), name
    options = {oracle(env).names.get(name, name).partition(" ")[0] for name in env.params._fields}
    assert wanted.keys() <= options


@each_robot
def test_joints_and_motors_are_mujocos(env):
    robot, m = file(env).ROBOT, theirs(oracle(env).id).model
    assert len(robot.joints) == m.njnt
    for j, joint in enumerate(robot.joints):
        assert joint.name == m.joint(j).name
        assert joint.slide == (m.jnt_type[j] == mujoco.mjtJoint.mjJNT_SLIDE)
        axis = np.eye(3)["xyz".index(joint.axis[-1])] * (-1.0 if joint.axis[0] == "-" else 1.0)
        near(axis, m.jnt_axis[j])
        if not joint.slide:
            near(joint.pos, flat(env, m.jnt_pos[j]))
        assert (joint.range is not None) == bool(m.jnt_limited[j])
        if joint.range is not None:
            near(joint.range, m.jnt_range[j])
            near((*joint.solref, *joint.solimp, 0.5, 2.0), (*m.jnt_solref[j], *m.jnt_solimp[j]))
            near(joint.margin, m.jnt_margin[j])
        near(joint.ref, m.qpos0[j])
        near(
            (joint.damping, joint.armature),
            (m.dof_damping[j], m.dof_armature[j])
            if m.dof_damping.ndim == 1
            else (m.dof_damping[j, 0], m.dof_armature[j]),
        )
        near(joint.stiffness, np.ravel(m.jnt_stiffness[j])[0])
        assert not joint.stiffness or m.qpos_spring[j] == 0.0
    assert len(robot.motors) == m.nu
    for i, motor in enumerate(robot.motors):
        assert motor.joint == m.joint(m.actuator_trnid[i, 0]).name
        near((motor.gear, -motor.limit, motor.limit), (m.actuator_gear[i, 0], *m.actuator_ctrlrange[i]))


@each_robot
def test_bodies_are_mujocos(env):
    robot, m = file(env).ROBOT, theirs(oracle(env).id).model
    tree = Tree(robot)
    assert len(robot.bodies) == m.nbody - 1
    geom = {b: [g for g in range(m.ngeom) if m.geom_bodyid[g] == b] for b in range(1, m.nbody)}
    for b, body in enumerate(robot.bodies, 1):
        assert body.name == m.body(b).name
        assert (body.parent or "world") == m.body(m.body_parentid[b]).name
        near(body.pos, flat(env, m.body_pos[b]))
        near(m.body_quat[b], (1, 0, 0, 0))
        assert len(body.shapes) == len(geom[b])
        for g, shape in zip(geom[b], body.shapes, strict=True):
            frame = np.zeros(9)
            mujoco.mju_quat2Mat(frame, m.geom_quat[g])
            near(shape.middle, flat(env, m.geom_pos[g]))
            near(shape.radius, m.geom_size[g, 0])
            sphere = m.geom_type[g] == mujoco.mjtGeom.mjGEOM_SPHERE
            half = np.zeros(2) if sphere else flat(env, frame.reshape(3, 3)[:, 2]) * m.geom_size[g, 1]
            near(min(np.linalg.norm(half - shape.half), np.linalg.norm(half + shape.half)), 0.0)
            if robot.contact:
                near(shape.friction, m.geom_friction[g, 0])
        mass, turned = tree.bodies[b].mass, np.zeros(9)
        mujoco.mju_quat2Mat(turned, m.body_iquat[b])
        normal = np.array([1.0 if axis not in robot.plane else 0.0 for axis in "xyz"]) @ turned.reshape(3, 3)
        near(mass.mass, m.body_mass[b])
        near(mass.centre, flat(env, m.body_ipos[b]))
        near(mass.inertia, normal @ np.diag(m.body_inertia[b]) @ normal)
        if robot.contact:
            near(tree.weights[1][b], m.body_invweight0[b, 0])
    near(tree.weights[0], m.dof_invweight0)


@each_robot
def test_options_of_the_simulation_are_mujocos(env):
    robot, made = file(env).ROBOT, theirs(oracle(env).id)
    m = made.model
    assert robot.timestep == m.opt.timestep
    assert robot.frame_skip == made.frame_skip
    assert robot.runge_kutta == (m.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4)
    assert m.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert m.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    near(robot.gravity, flat(env, m.opt.gravity))
    assert robot.fluid == (m.opt.density > 0 or m.opt.viscosity > 0)
    if robot.fluid:
        near((env.params.density, env.params.viscosity), (m.opt.density, m.opt.viscosity))
    if "gravity" in env.params._fields:
        near(-env.params.gravity, robot.gravity[1])


def touching(m):
    """The pairs of shapes that MuJoCo lets touch, each with a body."""
    for a in range(m.ngeom):
        for b in range(a + 1, m.ngeom):
            one, two = m.geom_bodyid[a], m.geom_bodyid[b]
            kin = one == two or (one and two and (m.body_parentid[two] == one or m.body_parentid[one] == two))
            hit = (m.geom_contype[a] & m.geom_conaffinity[b]) | (m.geom_contype[b] & m.geom_conaffinity[a])
            if hit and not kin:
                yield a, b


@each_robot
def test_contacts_are_mujocos(env):
    robot, m = file(env).ROBOT, theirs(oracle(env).id).model
    contact, tree = robot.contact, Tree(robot)
    ground = [(a, b) for a, b in touching(m) if m.geom_bodyid[a] == 0]
    selves = [(a, b) for a, b in touching(m) if m.geom_bodyid[a] > 0]
    assert len(tree.points) == 2 * len(ground)
    assert len(tree.touches) == len(selves)
    for a, b in ground:
        assert m.geom_type[a] == mujoco.mjtGeom.mjGEOM_PLANE
        assert max(m.geom_condim[[a, b]]) == 3
        near(m.geom_pos[a], 0.0)
        near(contact.friction, m.geom_friction[a, 0])
    for a, b in selves:
        assert max(m.geom_condim[[a, b]]) == 1
    for a, b in ground + selves:
        assert m.geom_solmix[a] == m.geom_solmix[b]
        near(contact.margin, m.geom_margin[a] + m.geom_margin[b])
        for g in (a, b):
            near((*contact.solref, *contact.solimp, 0.5, 2.0), (*m.geom_solref[g], *m.geom_solimp[g]))


class Words:
    """Those of the vocabulary that the equations use, on float64."""

    sin, cos, sqrt, absolute = np.sin, np.cos, np.sqrt, np.abs
    minimum, maximum, where = np.minimum, np.maximum, np.where


@each_robot
def test_accelerations_of_the_specification_are_mujocos_in_float64(env):
    tree, given, made = Tree(file(env).ROBOT), cases(env, 400), theirs(oracle(env).id)
    made.model.opt.tolerance, made.model.opt.ls_tolerance, made.model.opt.iterations = 1e-14, 1e-8, 200
    control = np.clip(given.action, *made.model.actuator_ctrlrange.T).astype(np.float64)
    wanted = []
    for q, v, u in zip(given.qpos, given.qvel, control, strict=True):
        mujoco.mj_resetData(made.model, made.data)
        made.data.qpos[:], made.data.qvel[:], made.data.ctrl[:] = q, v, u
        mujoco.mj_forward(made.model, made.data)
        wanted.append(made.data.qacc.copy())
    physics = planar.Physics(density=made.model.opt.density, viscosity=made.model.opt.viscosity)
    system = planar.system(tree, Words, given.qpos.T, given.qvel.T, control.T, physics)
    a = {j: np.zeros(len(control)) for j in system.force}
    for _ in range(12):
        a = planar.sweep(tree, Words, system, a)
    got = np.stack([planar.joint(tree, a, j) for j in range(len(tree.joints))], 1)
    off = np.abs(got - wanted) / (1.0 + np.abs(wanted))
    assert off.max() < 1e-9


@each_robot
def test_one_step_from_anywhere(env):
    given = cases(env)
    assert_parity(env, given, ours(env, given))
    ends = given.expected.terminated.mean()
    assert ends == 0 if oracle(env).thresholds is None else 0.1 < ends < 0.99


@each_robot
def test_one_step_from_anywhere_in_float64(env):
    """Of the code that is made, with sweeps enough for every state."""
    step = stepped(file(env).ROBOT._replace(sweeps=15), file(env).State, file(env).outcome)
    given = cases(env, 600, exact=True)
    found = errors(env, given, ours(dataclasses.replace(env, step=step), given, torch.float64))
    number = (
        file(env).ROBOT.contact is not None and file(env).ROBOT.contact.with_itself
    )  # of two, `where` makes float32
    assert np.quantile(found.obs, 0.99) < (2e-7 if number else 1e-9)
    assert (found.obs > 1e-6).mean() < 0.003
    assert not found.wrongly.any()
    assert np.quantile(found.reward, 0.99) < 1e-6  # Gymnasium squares actions in float32


@each_robot
def test_parameters_mean_what_mujocos_numbers_mean(env):
    known = oracle(env)
    assert set(known.changed) == set(PHYSICS) & set(env.params._fields)
    given = cases(env, 600, other=True, exact=True)
    params = env.params._replace(**{name: PHYSICS[name] for name in known.changed})
    found = errors(env, given, ours(env, given, torch.float64, params))
    assert np.quantile(found.obs, 0.9) < 1e-9
    for name in known.changed:
        wrong = params._replace(**{name: PHYSICS[name] * 1.01})
        found = errors(env, given, ours(env, given, torch.float64, wrong))
        assert np.quantile(found.obs, 0.9) > 1e-7, f"nobody notices a wrong {name}"


def body(robot, name, **changes):
    return robot._replace(bodies=tuple(b._replace(**changes) if b.name == name else b for b in robot.bodies))


def joints(robot, **changes):
    return robot._replace(
        bodies=tuple(b._replace(joints=tuple(j._replace(**changes) for j in b.joints)) for b in robot.bodies)
    )


FAULTS = {
    "gear": lambda r: r._replace(motors=(r.motors[0]._replace(gear=r.motors[0].gear * 1.01), *r.motors[1:])),
    "frame skip": lambda r: r._replace(frame_skip=r.frame_skip - 1),
    "integrator": lambda r: r._replace(runge_kutta=not r.runge_kutta),
    "sweeps": lambda r: r._replace(sweeps=r.sweeps * 3 // 5 if r.contact else 1),
    "sign": lambda r: body(r, r.bodies[1].name, joints=tuple(
        j._replace(axis={"+": "-", "-": "+"}[j.axis[0]] + "y") for j in r.bodies[1].joints)),
    "margin": lambda r: r._replace(contact=r.contact._replace(margin=r.contact.margin + 1e-3)),
    "no self contacts": lambda r: r._replace(contact=r.contact._replace(with_itself=False)),
    "place": lambda r: body(r, r.bodies[-1].name, pos=(r.bodies[-1].pos[0], r.bodies[-1].pos[1] + 1e-3)),
    "impedance": lambda r: joints(r, solimp=(0.85, 0.95, 0.001)),
    "gravity": lambda r: r._replace(gravity=(r.gravity[0] + 1e-2, r.gravity[1])),
    "no fluid": lambda r: r._replace(fluid=False),
}  # fmt: skip
SEEN = {
    "HalfCheetah": ["gear", "frame skip", "integrator", "sweeps", "sign", "margin", "place", "impedance", "gravity"],
    "Hopper": [
        "gear",
        "frame skip",
        "integrator",
        "sweeps",
        "sign",
        "margin",
        "no self contacts",
        "place",
        "impedance",
    ],
    "Walker2d": ["gear", "frame skip", "integrator", "sweeps", "sign", "margin", "place", "impedance", "gravity"],
    "Swimmer": ["gear", "frame skip", "integrator", "sweeps", "place", "impedance", "no fluid"],
    "Reacher": ["gear", "frame skip", "integrator"],
    "InvertedPendulum": ["gear", "frame skip", "integrator", "sign", "impedance"],
    "InvertedDoublePendulum": ["gear", "frame skip", "integrator", "sign", "place", "gravity"],
}
FOUND = [(env, fault) for env in MUJOCO for fault in SEEN[env.id.split("/")[1].split("-")[0]]]


@pytest.mark.slow
@pytest.mark.parametrize(("env", "fault"), FOUND, ids=lambda x: getattr(x, "id", x))
def test_a_wrong_robot_is_seen(env, fault):
    wrong = FAULTS[fault](file(env).ROBOT)
    step = stepped(wrong, file(env).State, file(env).outcome)
    given = cases(env)
    with pytest.raises(AssertionError, match=env.id):
        assert_parity(env, given, ours(dataclasses.replace(env, step=step), given))


@pytest.mark.parametrize("env", FALLING, ids=lambda e: e.id)
def test_ranges_of_health_are_gymnasiums(env):
    """At rest with folded legs, but for what is just outside of one of them; a range that is wider by 2 % is seen."""
    made = theirs(oracle(env).id)
    made.reset(seed=0)
    places = {"z": ("qpos", 1), "angle": ("qpos", 2), "state": ("qvel", 0)}
    for name in [n for n in env.params._fields if n.endswith(("_low", "_high"))]:
        value = getattr(env.params, name)
        if value > 1e6:
            continue
        rest = {"qpos": made.init_qpos.copy()[None], "qvel": made.init_qvel.copy()[None]}
        for j, joint in enumerate(file(env).ROBOT.joints):
            rest["qpos"][0, j] += {"thigh": -1.0, "leg": -2.0}.get(joint.name.partition("_")[0], 0.0)
        field, k = places[name.split("_")[1]]
        outwards = 0.01 if (value > 0.0) == name.endswith("_high") else -0.01
        rest[field][0, k] = value * (1.0 + outwards)
        still = np.zeros((1, *env.action_space.shape), np.float32)
        given = Cases(**rest, action=still, expected=answers(made, **rest, action=still))
        assert given.expected.terminated.all(), name
        assert ours(env, given).terminated.all(), name
        wider = env.params._replace(**{name: value * (1.0 + 2.0 * outwards)})
        assert not ours(env, given, params=wider).terminated.any(), name


@pytest.mark.slow
@each_robot
def test_a_hundred_steps(env):
    """Common starts and actions, each side going on from its own state; half of the rows stay near, however chaotic."""
    made, n, steps = theirs(oracle(env).id), 64, 100
    random = np.random.default_rng(3)
    begun = env.init(Rng(5, torch.arange(n), 0, 0, STREAM_INIT), env.params)
    count = made.model.nq
    action = random.uniform(-1.0, 1.0, (steps, n, *env.action_space.shape)) * env.action_space.high * 0.3
    action = action.astype(np.float32)
    ours_ = gpusim.make(env, n, device="cpu", backend="eager", max_episode_steps=-1)
    ours_.reset(seed=5)
    want = np.empty((steps, n, count))
    for i in range(n):
        mujoco.mj_resetData(made.model, made.data)
        made.data.qpos[:] = [float(x[i]) for x in begun[:count]]
        made.data.qvel[:] = [float(x[i]) for x in begun[count : 2 * count]]
        for t in range(steps):
            made.data.ctrl[:] = action[t, i]
            mujoco.mj_step(made.model, made.data, made.frame_skip)
            want[t, i] = made.data.qpos
    state, off = begun, []
    for t in range(steps):
        lanes = torch.from_numpy(action[t]).unbind(1)
        state, _, _ = env.step(state, lanes[0] if len(lanes) == 1 else lanes, None, env.params)
        off.append(np.abs(torch.stack(state[:count], 1).double().numpy() - want[t]).max(1))
    assert np.median(off[19]) < 1e-4
    if env.id != "MuJoCo/HalfCheetah-v5":  # whose errors grow tenfold in ten steps, in MuJoCo too
        assert np.median(off[99]) < 1e-2


@each_robot
def test_beginnings_have_gymnasiums_distribution(env):
    made, n = theirs(oracle(env).id), 2000
    made.reset(seed=1)
    rows = np.array([made.reset()[0] for _ in range(n)])
    begun = env.init(Rng(5, torch.arange(n), 0, 0, STREAM_INIT), env.params)
    for k, (ours_, expected) in enumerate(zip(env.observe(begun, env.params), rows.T, strict=True)):
        assert furthest_apart(ours_.double().numpy(), expected) < 0.055, k


@each_placed
def test_positions_are_observed_where_asked_for(env):
    """By Gymnasium's option, of the same name."""
    option = {"exclude_current_positions_from_observation": False}
    maker = getattr(file(env), file(env).__name__.rpartition(".")[2])
    wider = maker(**option)
    assert maker() is env
    made = theirs(oracle(env).id, **option)
    assert wider.observation_space.shape == made.observation_space.shape
    given = cases(env, 400)
    some = given.qpos[:20], given.qvel[:20], given.action[:20]
    want = answers(made, *some)
    got = ours(wider, given)
    np.testing.assert_allclose(got.obs[:20], want.obs, 1e-4, 1e-4)


@each_cheap
def test_a_robot_with_another_reward_is_tried_and_made(env):
    changed = env.with_reward(lambda state, action, next_state, reward, terminated, params: 2.0 * reward)
    pair = [gpusim.make(e, 3, device="cpu", backend="eager") for e in (env, changed)]
    for vec in pair:
        vec.reset(seed=0)
    rewards = [vec.step(torch.zeros(3, *env.action_space.shape))[1] for vec in pair]
    near(2.0 * rewards[0], rewards[1])


@pytest.mark.parametrize("env", FALLING, ids=lambda e: e.id)
def test_falling_may_go_on(env):
    given = cases(env)
    got = ours(env, given, params=env.params._replace(terminate_when_unhealthy=0.0))
    assert not got.terminated.any()
    fallen = given.expected.terminated
    near(got.reward[fallen], ours(env, given).reward[fallen])


@each_robot
def test_what_is_not_finite_ends_at_once(env):
    """In its own world alone; nothing of it is seen."""
    vec = gpusim.make(env, 4, device="cpu", backend="eager", validate=False)
    vec.reset(seed=0)
    state = vec.get_state()
    rate = state.state._fields[len(file(env).ROBOT.joints)]
    getattr(state.state, rate)[1:] = torch.tensor([math.nan, math.inf, 1e20])
    vec.set_state(state)
    obs, reward, terminated, _, infos = vec.step(torch.zeros(4, *env.action_space.shape))
    assert terminated.tolist() == [False, True, True, True]
    assert reward[1:].tolist() == [0.0, 0.0, 0.0]
    for value in (obs, reward, *vec.get_state().state):
        assert value.isfinite().all()
    assert infos["final_obs"][0].isfinite().all()


@each_cheap
@pytest.mark.parametrize("mode", MODES)
def test_it_keeps_the_contract(env, mode):
    """The costly ones as C++: eagerly, its hundreds of steps would take minutes."""
    backend = "native" if operations(env.step) > COSTLY and cpp.compiler() else "eager"
    check_vector_env(gpusim.make(env, 5, device="cpu", backend=backend, autoreset_mode=mode, max_episode_steps=6))


@each_robot
def test_physics_may_differ_among_environments(env):
    known = oracle(env)
    lanes = {name: torch.tensor([getattr(env.params, name), PHYSICS[name]]) for name in known.changed}
    both = gpusim.make(env, 2, device="cpu", backend="eager", params=lanes)
    numbers = {name: PHYSICS[name] for name in known.changed}
    changed, usual = (gpusim.make(env, 2, device="cpu", backend="eager", params=p) for p in (numbers, None))
    for vec in (both, changed, usual):
        vec.reset(seed=4)
    action = torch.from_numpy(np.full((2, *env.action_space.shape), 0.25, np.float32))
    for _ in range(3):
        one, two, three = (vec.step(action)[0] for vec in (both, usual, changed))
    torch.testing.assert_close(one[0], two[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one[1], three[1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(one[1], two[1], rtol=1e-4, atol=1e-4)


@each_robot
def test_a_copy_of_a_robot_steps_alike(env):
    """It is pickled as its numbers, and made anew where it is stepped."""
    copy = pickle.loads(pickle.dumps(env))
    assert isinstance(vars(copy)["step"], Recipe)
    state = put(env, *(x[:8] for x in cases(env, 400)[:2]))
    lanes = [torch.zeros(8)] * env.action_space.shape[0]
    action = lanes[0] if len(lanes) == 1 else tuple(lanes)
    for a, b in zip(*(e.step(state, action, None, e.params)[0] for e in (env, copy)), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_traced_before_it_is_asked_for():
    code = """
import sys, gpusim
from gpusim.envs.mujoco import MUJOCO
from gpusim.fill import Recipe
assert len(MUJOCO) == 7 and all(isinstance(vars(env)["step"], Recipe) for env in MUJOCO)
assert "mujoco" not in sys.modules
env = gpusim.make("MuJoCo/Reacher-v5", 2, device="cpu", backend="eager")
env.reset(seed=0)
env.rollout(2)
assert "mujoco" not in sys.modules and callable(vars(env.task)["step"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_source_is_small_and_folds_what_is_known():
    """Straight-line code without a sum with 0 or a product with 1."""
    for env in MUJOCO:
        source = text(file(env).ROBOT, file(env).State)
        assert source.count("\n") < 1200
        assert not re.search(r"[-+] 0\.0(?!\d)|\* [01]\.0(?!\d)", source.partition("def substep")[0])


def test_torch_compile_is_refused_where_it_would_not_finish():
    gpu = torch.device("cuda", 0)
    long = [env for env in MUJOCO if operations(env.step) > checks.UNROLLED]
    assert len(long) >= 4
    for env in long:
        with pytest.raises(
            InputError, match=r"torch.compile would unroll the loops of MuJoCo/\w+-v5 to \d+,\d+ operations"
        ):
            checks.backend("compile", gpu, env)
    assert checks.backend("compile", gpu, gpusim.spec("MinAtar/Seaquest-v1")) == "compile"


def test_without_triton_a_gpu_steps_eagerly_what_torch_compile_would_not_finish(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    gpu = torch.device("cuda", 0)
    assert checks.backend("auto", gpu, gpusim.spec("MuJoCo/Swimmer-v5")) == "eager"
    assert checks.backend("auto", gpu, gpusim.spec("CartPole-v1")) == "compile"


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    interpreter.passes(Path(__file__).with_name("mujoco_in_interpreter.py"))


INNERMOST = (
    100  # instructions: a loop that is longer, and has none in it, is the solver's; the shorter are those of sines
)


def loops(assembly):
    """Of every loop that has no other one in it, what is in it."""
    parts = re.findall(r"^\s*(\.L_x_\d+):|/\*([0-9a-f]{4,})\*/\s+(.*?);", assembly, re.MULTILINE)
    code = [(int(at, 16), text) for _, at, text in parts if at]
    ahead = iter([at for at, _ in code] + [0])
    places, here = {}, next(ahead)
    for label, *_ in parts:  # tools print where a branch goes as an address or as a label
        if label:
            places[label] = here
        else:
            here = next(ahead)
    jumps = [(to, at) for at, text in code for to in re.findall(r"\bBRA\b.*?(0x[0-9a-f]+|\.L_x_\d+)", text)]
    back = [(places[to] if to in places else int(to, 16), at) for to, at in jumps]
    back = [(to, at) for to, at in back if to < at]
    inner = [b for b in back if not any(b != o and b[0] <= o[0] and o[1] <= b[1] for o in back)]
    return [[text for at, text in code if low <= at <= high] for low, high in inner]


@pytest.mark.slow
@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@each_robot
def test_kernels_compile_for_a_gpu(env):
    """The largest spill a little, once a timestep, but never in the solver's loop, where nine tenths of the time are."""
    pytest.importorskip("triton")
    with launch.recording() as launches:
        vec = gpusim.make(env, 48, device="cpu", backend="triton", validate=False)
        vec.reset(seed=0)
        launches.clear()
        vec.rollout(8, transitions=False)
    compiled = compile_for(launches[0], "sm_90")
    assert compiled.spill_stores + compiled.spill_loads <= (1400 if operations(env.step) > 40_000 else 0)
    if "BRA" in compiled.assembly:  # SASS could be had
        (solver,) = [body for body in loops(compiled.assembly) if len(body) > INNERMOST] or [[]]
        assert not any("LDL" in text or "STL" in text for text in solver)
        assert solver or operations(env.step) < 40_000  # a short one may be unrolled


@pytest.mark.slow
@pytest.mark.skipif(cpp.compiler() is None, reason="there is no C++ compiler")
@each_robot
@pytest.mark.parametrize("drawn", [False, True])
def test_native_is_eager(env, drawn):
    """Of one step each, from common states; rollouts that go on are chaotic."""
    params = {n: Uniform(0.9 * PHYSICS[n], PHYSICS[n]) for n in oracle(env).changed} if drawn else None
    native, eager = (
        gpusim.make(env, 67, device="cpu", backend=b, params=params, max_episode_steps=9) for b in ("native", "eager")
    )
    for vec in (native, eager):
        vec.reset(seed=11)
    for _ in range(4):
        eager.set_state(native.get_state())
        action = torch.as_tensor(native.action_space.sample())
        (obs, reward, *ends, _), (obs2, reward2, *ends2, _) = native.step(action), eager.step(action)
        assert torch.equal(torch.stack(ends), torch.stack(ends2))
        torch.testing.assert_close(reward, reward2, rtol=2e-4, atol=2e-4)
        assert ((obs - obs2).abs() / (1.0 + obs2.abs())).max(1).values.quantile(0.9) < 1e-5


@pytest.mark.skipif(launch.interpreted(), reason="kernels are interpreted in this process")
@pytest.mark.parametrize(
    ("name", "kernel"), [("CartPole-v1", "rollout_kernel"), ("MuJoCo/Swimmer-v5", "simulate_kernel")]
)
def test_no_kernel_holds_a_network_beside_a_long_step(name, kernel):
    """Which would spill kilobytes and compile for minutes; then steps and network are launched in turn."""
    pytest.importorskip("triton")
    assert (checks.policy_problem(gpusim.spec(name)) is None) == (kernel == "rollout_kernel")
    with launch.recording() as launches:
        vec = gpusim.make(name, 48, device="cpu", backend="triton", validate=False)
        vec.reset(seed=0)
        shape = MlpShape.of(vec.single_observation_space, vec.single_action_space, (16, 16))
        policy = MlpPolicy(torch.zeros(shape.size), shape)
        launches.clear()
        vec.rollout(2, policy)
    assert ("rollout_kernel" in {x.kernel.__name__ for x in launches}) == (kernel == "rollout_kernel")
