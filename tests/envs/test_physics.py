"""`PhysicsEnv` and the simulator behind it, on a robot so small that it compiles in seconds."""

import sys

import mujoco
import numpy as np
import pytest
import torch
from scipy import stats

import gpusim
from gpusim import InputError, Uniform
from gpusim.kernels.lang import STREAM_INIT, Rng, slot_uniform
from gpusim.physics import PhysicsEnv, normals, uniforms
from gpusim.physics_trial import tried
from gpusim.render import mujoco as drawing
from gpusim.sim import mujoco_model, plane_capsule
from gpusim.sim.faults import Faults
from gpusim.testing import check_vector_env
from tests.envs.pole import FIELDS, POLE, XML
from tests.envs.test_vector import MODES, same

pytestmark = pytest.mark.xdist_group("warp")  # one process compiles it


def make(env=POLE, num_envs=6, **kwargs):
    return gpusim.make(env, num_envs, device="cpu", **kwargs)


def pushes(count, num_envs=6, seed=3):
    return torch.empty(count, num_envs, 1).uniform_(-10, 10, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mode", MODES)
def test_it_keeps_the_contract(mode):
    check_vector_env(make(autoreset_mode=mode))
    check_vector_env(make(num_envs=2, autoreset_mode=mode, max_episode_steps=1, copy=False))


def in_c(frame_skip=2, steps=20, damping=1.0, weight=1.0, places=None):
    """What C MuJoCo makes of the pole, `[steps, N, 7]`, from those places `[N, 2]` at rest."""
    model = mujoco.MjModel.from_xml_string(XML)
    model.dof_damping *= damping
    model.body_mass *= weight
    model.body_inertia *= weight
    datas = [mujoco.MjData(model) for _ in places]
    mujoco.mj_setConst(model, datas[0])
    mujoco.mj_resetData(model, datas[0])
    for data, place in zip(datas, places, strict=True):
        data.qpos[:] = place
        mujoco.mj_forward(model, data)
    found = []
    for action in pushes(steps, len(places)):
        for data, a in zip(datas, action, strict=True):
            data.ctrl[:] = a
            mujoco.mj_step(model, data, frame_skip)
        found.append([np.concatenate([d.qpos, d.qvel, d.site_xpos[0]]) for d in datas])
    return np.array(found)


def in_warp(env, steps=20, **kwargs):
    """The same of ours, and the places it begins at."""
    venv = make(
        env.replace(terminated=None, begin=lambda rng, m, p: (uniforms(rng, 0, 2, -0.1, 0.1), torch.zeros(1, 2))),
        **kwargs,
    )
    places, _ = venv.reset(seed=5)
    return np.stack([venv.step(a)[0].numpy() for a in pushes(steps)]), places[:, :2].double().numpy()


def test_it_moves_as_in_c():
    ours, places = in_warp(POLE)
    assert np.abs(ours - in_c(places=places)).max() < 2e-5
    assert np.abs(ours - in_c(places=places, frame_skip=1)).max() > 1e-2


def test_parameters_go_into_the_model_for_all_and_for_each():
    """Weights too, of which MuJoCo derives more, and against C in every world."""
    env = POLE.replace(fields=FIELDS)
    ours, places = in_warp(env, params={"damping": 30.0, "weight": 2.0})
    assert np.abs(ours - in_c(places=places, damping=30.0, weight=2.0)).max() < 2e-5
    damping, weight = torch.linspace(1.0, 40.0, 6), torch.linspace(0.5, 3.0, 6)
    ours, places = in_warp(env, params={"damping": damping, "weight": weight})
    for i in range(6):
        theirs = in_c(places=places, damping=float(damping[i]), weight=float(weight[i]))
        assert np.abs(ours[:, i] - theirs[:, i]).max() < 2e-5, i
    assert np.abs(ours[:, 5] - in_c(places=places)[:, 5]).max() > 1e-2


def test_what_mujoco_derives_of_weights_is_derived_in_each_world():
    weight = torch.linspace(0.5, 3.0, 6)
    env = make(POLE.replace(fields=FIELDS), params={"weight": weight})
    env.reset(seed=0)
    for i in range(6):
        model = mujoco.MjModel.from_xml_string(XML)
        model.body_mass *= float(weight[i])
        model.body_inertia *= float(weight[i])
        mujoco.mj_setConst(model, mujoco.MjData(model))
        for name in ("dof_invweight0", "body_subtreemass"):
            ours = getattr(env.simulator.model, name)[i].numpy()
            assert np.allclose(ours, getattr(model, name), rtol=1e-4, atol=1e-6), name
        ours = env.simulator.model.body_invweight0[
            i, :, 0
        ].numpy()  # what cannot turn, mujoco_warp sees otherwise than C
        assert np.allclose(ours, model.body_invweight0[:, 0], rtol=1e-4)


def test_parameters_are_drawn_and_set():
    env = make(POLE.replace(fields=FIELDS), params={"damping": Uniform(1.0, 20.0)}, max_episode_steps=3)
    env.reset(seed=0)
    first = env.get_attr("damping")
    assert len(set(first)) == 6
    assert all(1.0 <= x < 20.0 for x in first)
    own = torch.tensor([0.1, 0.002])
    assert torch.allclose(env.simulator.fields["dof_damping"], own * torch.tensor(first)[:, None])
    env.rollout(3)
    assert not set(env.get_attr("damping")) & set(first)
    state = env.get_state()
    after = env.rollout(10)
    env.set_state(state)
    assert same(env.rollout(10), after)
    before = env.observe()
    env.set_attr("damping", 3.0)
    env.set_attr("effort", torch.arange(6.0))
    assert torch.equal(env.observe(), before)
    assert env.get_attr("damping") == (3.0,) * 6
    assert torch.allclose(env.simulator.model.dof_damping, 3.0 * own)
    _, _, _, _, infos = env.step(torch.ones(6, 1))
    assert torch.equal(infos["reward_ctrl"], -torch.arange(6.0))
    with pytest.raises(InputError, match="TestPole-v0 has no parameter 'gravity'"):
        env.set_attr("gravity", 1.0)


def test_a_world_depends_on_none_beside_it():
    whole, some = make(num_envs=8, max_episode_steps=7), make(num_envs=3, first_env=4, max_episode_steps=7)
    for env in (whole, some):
        env.reset(seed=11)
    many, few = whole.rollout(30), some.rollout(30)
    assert torch.equal(many.obs[:, 4:7], few.obs)
    assert torch.equal(many.reward[:, 4:7], few.reward)


def test_a_state_is_put_back_elsewhere_bit_for_bit():
    one, other = make(), make()
    one.reset(seed=1)
    other.reset(seed=2)
    one.rollout(9)
    other.set_state(one.get_state())
    assert same(one.rollout(40), other.rollout(40))
    state = one.get_state()
    less = {k: v for k, v in state.simulator.physics.items() if k != "qacc_warmstart"}
    with pytest.raises(InputError, match=r"the state lacks 'simulator.physics.qacc_warmstart'"):
        one.set_state(state._replace(simulator=state.simulator._replace(physics=less)))


def test_its_arrays_are_torchs():
    simulator = make().simulator
    for name, view in simulator.state_views.items():
        assert view.data_ptr() == getattr(simulator.d, name).ptr


def test_worlds_that_go_on_keep_what_they_were_seen_as():
    """Where others begin the model is evaluated anew, and places of sites would no longer lag."""
    env = make()
    env.reset(seed=0)
    env.rollout(4)
    seen = env.observe()
    mask = torch.arange(6) < 3
    obs, _ = env.reset(options={"reset_mask": mask})
    simulator = env.simulator
    assert torch.equal(obs[3:], seen[3:])
    assert torch.equal(simulator.observe(), obs)
    assert not torch.equal(obs[:3], seen[:3])
    tip = simulator.views["site_xpos"][:, 0]
    assert not torch.equal(tip[3:], obs[3:, 4:])  # what was evaluated anew


def test_parts_of_the_reward_are_told_and_add_up():
    env = make()
    env.reset(seed=0)
    _, reward, _, _, infos = env.step(torch.full((6, 1), 5.0))
    assert torch.equal(infos["reward_ctrl"], torch.full((6,), -0.025))
    assert torch.allclose(infos["reward_alive"] + infos["reward_ctrl"], reward)
    whole = make(POLE.replace(reward=lambda before, data, action, params: action[:, 0] * 2.0))
    whole.reset(seed=0)
    _, reward, _, _, infos = whole.step(torch.full((6, 1), 5.0))
    assert torch.equal(reward, torch.full((6,), 10.0))
    assert not any(name.startswith("reward_") for name in infos)


@pytest.mark.parametrize("mode", MODES)
def test_a_world_that_breaks_down_is_over_begins_anew_and_is_told_of(mode):
    env, twin = (make(autoreset_mode=mode, validate=False) for _ in "ab")
    for each in (env, twin):
        each.reset(seed=0)
        each.rollout(2)
    state = env.get_state()
    state.simulator.physics["qvel"][2, 1] = torch.nan
    state.simulator.physics["qpos"][4, 0] = torch.inf
    env.set_state(state)
    zero = torch.zeros(6, 1)
    with pytest.warns(
        UserWarning, match="the physics of TestPole-v0 became nan or infinite in a world, which begins anew"
    ):
        obs, reward, terminated, _, infos = env.step(zero)
    other = twin.step(zero)
    assert terminated.tolist() == [False, False, True, False, True, False]
    assert reward[[2, 4]].tolist() == [0.0, 0.0]
    assert infos["final_obs"].isfinite().all()
    assert torch.equal(infos["final_obs"][2], state.obs[2])
    well = [0, 1, 3, 5]
    assert torch.equal(obs[well], other[0][well])
    assert env.faults() == Faults(2, 0, 0)
    if mode == "disabled":
        env.reset(options={"reset_mask": terminated})
    for _ in range(3):
        obs, *_ = env.step(zero)
        assert obs.isfinite().all()
    assert env.faults() == Faults(2, 0, 0)


BALLS = """<mujoco><worldbody><geom type="plane" size="2 2 1"/>
  <body pos="0 0 0.09"><freejoint/><geom type="sphere" size="0.1"/></body>
  <body pos="1 0 0.09"><freejoint/><geom type="sphere" size="0.1"/></body>
  <body pos="0 1 0.09"><freejoint/><geom type="sphere" size="0.1"/></body></worldbody></mujoco>"""


def balls(**kwargs):
    control = {"control": lambda action, params: action[:, :0], "action_space": gpusim.spec("Pendulum-v1").action_space}
    functions = {
        "observe": lambda data, params: data.qpos,
        "reward": lambda before, data, action, params: data.qpos[:, 2],
    }
    return PhysicsEnv(id="Balls-v0", model=BALLS, **functions, **control, **kwargs)


def test_too_little_room_is_told_and_names_what_to_raise():
    for room, fault, told in (
        ({"nconmax": 1, "njmax": 64}, "contacts", "more contacts than there is room for.*give it an nconmax above 1"),
        (
            {"nconmax": 8, "njmax": 5},
            "rows",
            "more rows of constraints than there is room for.*give it an njmax above 5",
        ),
    ):
        env = make(balls(**room), 2)
        env.reset(seed=0)
        with pytest.warns(UserWarning, match=told):
            env.step(torch.zeros(2, 1))
        assert getattr(env.faults(), fault) > 0
    env = make(balls(nconmax=8, njmax=64), 2)
    env.reset(seed=0)
    env.rollout(5)
    assert env.faults() == Faults(0, 0, 0)


# -------------------------------------------------------------------------------------------------- without compiling


def test_draws_are_those_of_the_vocabulary():
    index = torch.arange(5)
    rng = Rng(torch.tensor(2**40 + 7), index, index * 3, 0, STREAM_INIT)
    assert torch.equal(uniforms(rng, 3, 8, -2.0, 5.0), slot_uniform(rng, 3, 8, -2.0, 5.0))
    low = torch.linspace(0.0, 1.0, 5)
    assert torch.allclose(uniforms(rng, 0, 6, low, low + 2.0), uniforms(rng, 0, 6) * 2.0 + low[:, None])
    many = torch.arange(20_000)
    drawn = normals(Rng(torch.tensor(1), many, many, 0, STREAM_INIT), 0, 5, 2.0)
    for column in drawn.T:
        assert stats.kstest(column.numpy(), stats.norm(scale=2.0).cdf).pvalue > 1e-3
    assert (torch.corrcoef(drawn.T) - torch.eye(5)).abs().max() < 0.03
    with pytest.raises(InputError, match="9 draws from block 254 on reach beyond block 255"):
        uniforms(rng, 254, 9)


def test_the_frame_of_a_steep_capsule_is_that_of_c_and_what_is_right_already_is_let_be(monkeypatch):
    plane_capsule.correct.__wrapped__()  # whatever was before
    from mujoco_warp._src import collision_primitive, collision_primitive_core

    axis, frame = plane_capsule.wanted()
    here = collision_primitive.plane_capsule
    assert np.allclose(plane_capsule._given(here, axis), frame, atol=1e-5)
    assert not plane_capsule.correct.__wrapped__()  # it retires
    assert collision_primitive.plane_capsule is here
    wrong = plane_capsule._given(collision_primitive_core.plane_capsule, axis)
    assert np.allclose(wrong[0], frame[0])
    assert not np.allclose(wrong, frame, atol=1e-2)  # else mujoco_warp has mended it, and `correct` may go


def test_spaces_are_those_of_the_functions_and_the_actuators():
    assert POLE.observation_space.shape == (7,)
    assert POLE.action_space == gpusim.spec("MuJoCo/Ant-v5").action_space.__class__(-10.0, 10.0, (1,))
    assert set(tried(POLE).reads) == {"qpos", "qvel", "site_xpos"}


def test_names_are_looked_up():
    model = mujoco_model.Names(tried(POLE).host, 2, "TestPole-v0")
    assert (model.body("pole"), model.qpos("hinge"), model.qvel("slide")) == (2, slice(1, 2), slice(0, 1))
    assert (model.actuator("push"), model.site("tip"), model.dt) == (0, 0, 0.04)
    with pytest.raises(InputError, match="the model of TestPole-v0 has no body 'pola'; did you mean 'pole'"):
        model.body("pola")
    with pytest.raises(InputError, match="has no sensor 'eye'; it has none"):
        model.sensor("eye")


def test_a_spec_a_model_and_a_file_will_do_as_well(tmp_path):
    (tmp_path / "pole.xml").write_text(XML)
    model = mujoco.MjModel.from_xml_string(XML)
    for given in (mujoco.MjSpec.from_string(XML), model, tmp_path / "pole.xml", str(tmp_path / "pole.xml")):
        assert tried(POLE.replace(model=given)).host.nq == 2


def test_what_mujoco_says_of_a_model_is_a_warning_and_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="MuJoCo says of the model of TestPole-v0: .*'settotalmass' is deprecated"):
        tried(POLE.replace(model=XML.replace("<option", '<compiler settotalmass="3"/><option', 1)))
    assert not list(tmp_path.iterdir())


def bad(**changes):
    return lambda: tried(POLE.replace(**changes))


REFUSED = {
    "the model of TestPole-v0 cannot be read: XML Error: Schema violation: unrecognized element": bad(
        model="<mujoco><wheels/></mujoco>"
    ),
    "the model of TestPole-v0 cannot be read: XML parse error": bad(model="<mujoco>"),
    "the model of TestPole-v0 is not there: no file 'nowhere.xml'": bad(model="nowhere.xml"),
    "the model of TestPole-v0 must be XML, the path of a file of it, a mujoco.MjSpec or a mujoco.MjModel, not 3": bad(
        model=3
    ),
    r"the begin of TestPole-v0 \(.*\) gives .* as qpos, where \[3, 2\] for 3 worlds is meant": bad(
        begin=lambda rng, model, params: (torch.zeros(3, 5), torch.zeros(3, 2))
    ),
    r"the begin of TestPole-v0 \(.*\) gives .* where qpos and qvel are meant, or a dict of time, qpos": bad(
        begin=lambda rng, model, params: torch.zeros(3, 2)
    ),
    r"the control of TestPole-v0 \(.*\) gives .* where controls are meant, \[3, 1\] for 3 worlds": bad(
        control=lambda action, params: action.repeat(1, 4)
    ),
    r"the observe of TestPole-v0 \(.*\) gives .* where float32 \[3, d\] is meant": bad(
        observe=lambda data, params: data.qpos[0]
    ),
    r"the observe of TestPole-v0 \(.*\) fails by IndexError": bad(observe=lambda data, params: data.qpos[:, 7:, 3]),
    "MuJoCo's data have no array 'wheels', which TestPole-v0 reads": bad(observe=lambda data, params: data.wheels),
    r"the observe of TestPole-v0 \(.*\) gives numbers that are not finite": bad(
        observe=lambda data, params: data.qpos / 0.0
    ),
    r"the reward of TestPole-v0 \(.*\) gives .* as its part 'x' gives, where float32 \[3\] is meant": bad(
        reward=lambda before, data, action, params: {"x": data.qpos}
    ),
    r"the terminated of TestPole-v0 \(.*\) gives .* where bool \[3\] is meant": bad(
        terminated=lambda data, params: data.qpos[:, 0]
    ),
    r"the reward of TestPole-v0 .* must take 4 arguments: \(before, data, action, params\)": bad(
        reward=lambda data: data.qpos
    ),
    "the field 'dof_damping' of TestPole-v0 must give a tensor like its own": bad(
        fields={"dof_damping": lambda own, params: torch.zeros(3, 9)}
    ),
    "MuJoCo's models have no array 'wheels', which the fields of TestPole-v0 name": bad(
        fields={"wheels": lambda own, params: own}
    ),
    "frame_skip of TestPole-v0 must be a whole number from 1 on, not 0": bad(frame_skip=0),
    "nconmax of TestPole-v0 must be a whole number from 0 on, not -1": bad(nconmax=-1),
    "a PhysicsEnv has no wheels": bad(wheels=4),
    "the params of TestPole-v0 must be a NamedTuple of finite numbers": bad(params=(1, 2)),
    "gives 7 numbers of a world where its observation_space is Box": bad(
        observation_space=gpusim.spec("Pendulum-v1").observation_space
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_wrong_is_said_in_a_sentence(sentence):
    with pytest.raises(InputError, match=sentence):
        REFUSED[sentence]()


def test_what_mujoco_warp_lacks_is_named():
    plugin = XML.replace("<option", '<option noslip_iterations="3" integrator="discrete"', 1)
    with pytest.raises(
        InputError, match=r"mujoco_warp cannot run the model of TestPole-v0: noslip solver not implemented"
    ):
        make(POLE.replace(model=plugin))


def test_a_missing_library_is_a_sentence(monkeypatch):
    for name in ("mujoco", "mujoco_warp"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, name, None)
            with pytest.raises(
                InputError, match=r'needs mujoco and mujoco-warp, .* not installed: pip install "gpusim\[mujoco\]"'
            ):
                make(POLE.replace(frame_skip=3))


def test_only_gpusims_backend_is_another():
    with pytest.raises(
        InputError, match=r'TestPole-v0 is stepped by MuJoCo Warp: use backend "auto" or "warp", not \'triton\''
    ):
        make(backend="triton")
    with pytest.raises(
        InputError, match=r"TestPole-v0 is stepped by MuJoCo, not by a VectorEnv: make it by gpusim.make"
    ):
        gpusim.VectorEnv(POLE)
    with pytest.raises(InputError, match="Pendulum-v1 is stepped by gpusim itself"):
        gpusim.PhysicsVectorEnv("Pendulum-v1")


def test_it_is_drawn_or_says_why_not(monkeypatch):
    env = make(num_envs=3, render_mode="rgb_array") if not drawing.problem(POLE) else None
    if env:
        env.reset(seed=0)
        frame = gpusim.render(env, 1)
        assert frame.shape == (480, 480, 3)
        assert frame.std() > 5
        assert len(env.render()) == 3
        assert env.metadata["render_fps"] == 25
    else:
        assert "install EGL" in drawing.problem(POLE)
    monkeypatch.setattr(drawing, "_problem", lambda: "robots cannot be drawn here.")
    env = make(num_envs=3)
    env.reset(seed=0)
    with pytest.raises(InputError, match="robots cannot be drawn here"):
        gpusim.render(env)
    with pytest.raises(InputError, match="robots cannot be drawn here"):
        make(render_mode="rgb_array")


def test_without_a_way_to_draw_a_sentence_names_what_to_install(monkeypatch):
    def broken(*args):
        raise RuntimeError("no OpenGL here")

    monkeypatch.setattr(mujoco, "Renderer", broken)
    assert "cannot draw here (no OpenGL here): install EGL" in drawing._problem.__wrapped__()


def test_registered_it_is_made_by_its_id_and_copied(monkeypatch):
    monkeypatch.setattr(gpusim.registry, "_ENVS", dict(gpusim.registry._ENVS))
    gpusim.register(POLE)
    env = gpusim.make("TestPole-v0", 2, device="cpu")
    assert env.task is POLE
    assert "TestPole-v0" in gpusim.env_ids(gpusim.PhysicsEnv)
    assert "TestPole-v0" not in gpusim.env_ids(gpusim.Env)
    with pytest.raises(InputError, match=r"register takes a gpusim.Env or a gpusim.PhysicsEnv, not 3"):
        gpusim.register(3)


def test_what_is_read_only_sometimes_is_said():
    calls = []

    def fickle(data, params):
        calls.append(data)
        return torch.cat([data.qpos, data.qvel], 1) if len(calls) < 4 else data.xpos[:, 1]

    env = make(POLE.replace(observe=fickle))
    env.reset(seed=0)
    with pytest.raises(InputError, match="xpos was not read when TestPole-v0 was tried"):
        env.rollout(9)


def test_nothing_of_mujoco_is_imported_before_it_is_wanted():
    import subprocess

    code = "import sys, gpusim; gpusim.env_ids(); [gpusim.spec(e).observation_space for e in gpusim.env_ids()]; "
    code += "print([m for m in sys.modules if m.partition('.')[0] in ('mujoco', 'mujoco_warp', 'warp')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
