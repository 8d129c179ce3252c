"""Pictures of environments: Gymnasium's own of the same state, boards cell by cell, several in one."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from minatar.gym import BaseEnv

import gpusim
from gpusim import InputError
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.acrobot import ACROBOT
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.mountain_car import MOUNTAIN_CAR
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.envs.minatar import GAMES
from gpusim.envs.minatar.breakout import BREAKOUT
from gpusim.render import board, fps
from gpusim.render.grid import GAP, GREY, grid, shape, shrunk
from gpusim.wrappers import NormalizeObservation
from tests.envs.beside import oracle
from tests.envs.minatar_oracle import title
from tests.envs.toys import DUSK, SWARM, TOY, TRAIL

N, SEED = 4, 3
each = pytest.mark.parametrize("env", CLASSIC, ids=lambda e: e.id)


def make(env=CARTPOLE, num_envs=N, steps=0, **kwargs):
    made = gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))
    made.reset(seed=SEED)
    if steps:
        made.rollout(steps)
    return made


def theirs(env, state, **attributes):
    """The frame of Gymnasium's own environment in that state."""
    made = gymnasium.make(env.id, render_mode="rgb_array")
    made.reset(seed=0)
    for name, value in ({"state": np.array(state, np.float64)} | attributes).items():
        setattr(made.unwrapped, name, value)
    return made.render()


def row(env, i):
    return [float(field[i]) for field in env.get_state().state]


@each
@pytest.mark.parametrize("steps", [0, 20])
def test_a_frame_is_that_of_gymnasium_in_the_same_state(env, steps):
    made = make(env, steps=steps, autoreset_mode="disabled", validate=False)
    torque = {"last_u": float(made.snapshot([2]).actions[0][0])} if env is PENDULUM and steps else {}
    expected = theirs(env, row(made, 2), **torque)
    frame = gpusim.render(made, 2)
    assert frame.dtype == np.uint8
    assert np.array_equal(frame, expected)
    assert not np.array_equal(frame, gpusim.render(made, 1))
    if torque:
        assert not np.array_equal(frame, theirs(env, row(made, 2)))


@each
def test_time_is_shown_as_gymnasium_shows_it(env):
    expected = gymnasium.make(env.id).metadata["render_fps"]
    assert make(env).metadata["render_fps"] == fps(env) == expected
    assert fps(BREAKOUT) == board.FPS
    assert fps(replace(TOY, render=lambda s, p: None)) == 30


def test_parameters_that_can_be_seen_are_seen():
    lengths = torch.tensor([0.2, 0.5, 0.8, 1.1])
    made = make(params={"half_length": lengths, "x_limit": 3.0})
    for i in (0, 3):
        expected = theirs(CARTPOLE, row(made, i), length=float(lengths[i]), x_threshold=3.0)
        assert np.array_equal(gpusim.render(made, i), expected)
    made = make(ACROBOT, params={"length1": 1.5})
    assert np.array_equal(gpusim.render(made, 0), theirs(ACROBOT, row(made, 0), LINK_LENGTH_1=1.5))
    made = make(MOUNTAIN_CAR, params={"goal_position": 0.3})
    assert np.array_equal(gpusim.render(made, 0), theirs(MOUNTAIN_CAR, row(made, 0), goal_position=0.3))
    assert np.array_equal(gpusim.render(make(MOUNTAIN_CAR), 0), theirs(MOUNTAIN_CAR, row(make(MOUNTAIN_CAR), 0)))


def test_the_torque_is_that_of_the_last_step_of_the_episode():
    made = make(PENDULUM, max_episode_steps=3)
    still = theirs(PENDULUM, row(made, 0))
    assert np.array_equal(gpusim.render(made, 0), still)
    pushed = torch.tensor([[2.0], [-2.0], [0.5], [1.0]])
    for _ in range(2):
        made.step(pushed)
    shown = [gpusim.render(made, i) for i in range(N)]
    assert all(np.array_equal(f, theirs(PENDULUM, row(made, i), last_u=float(pushed[i]))) for i, f in enumerate(shown))
    made.step(pushed)  # the next episode begins
    assert np.array_equal(gpusim.render(made, 1), theirs(PENDULUM, row(made, 1)))
    made.step(pushed)
    state = made.get_state()
    made.set_state(state)
    assert np.array_equal(gpusim.render(made, 1), theirs(PENDULUM, row(made, 1)))


def test_rendering_changes_nothing():
    plain, seen = make(PENDULUM, steps=3), make(PENDULUM, steps=3)
    for _ in range(4):
        gpusim.render(seen)
        actions = torch.ones(N, 1)
        assert all(torch.equal(a, b) for a, b in zip(plain.step(actions)[:4], seen.step(actions)[:4], strict=True))


@pytest.mark.parametrize("env", GAMES, ids=title)
def test_a_board_shows_the_channels_that_minatar_shows(env):
    made = make(env, steps=30, params={"sticky": 0.0})
    other = BaseEnv(oracle(env).module, render_mode="rgb_array")
    rng = np.random.default_rng(0)
    seen = made.observe().numpy()
    for i, cells in enumerate([*seen, rng.random(seen.shape[1:]) < 0.2]):
        frame = gpusim.render(made, i) if i < N else board.frame(cells)
        assert frame.shape == (160, 160, 3)
        blocks = frame.reshape(10, 16, 10, 16, 3)
        assert (blocks == blocks[:, :1, :, :1]).all()
        colours = np.concatenate([board.BACKGROUND, board.PALETTE])
        ours = (blocks[:, 0, :, 0, None] == colours).all(-1).argmax(-1)
        other.game.state = lambda cells=cells: cells
        shown = other.render()
        palette = np.unique(shown.reshape(-1, 3), axis=0)
        for colour in palette:
            assert len(np.unique(ours[(shown == colour).all(-1)])) == 1
        assert len(np.unique(ours)) == len(palette)
        assert np.array_equal(ours == 0, ~cells.any(-1))
        top = np.where(cells, np.arange(1, cells.shape[-1] + 1), 0).max(-1)
        assert np.array_equal(ours, top)


LACKING = {  # one kind of cone missing; Machado, Oliveira & Fernandes (2009), on linear RGB
    "none": np.eye(3),
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def least_difference(colours, lacking):
    """The least ΔE (CIE 1976) between two sRGB colours as that eye sees them."""
    rgb = np.asarray(colours) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(lacking).T, 0, 1)
    xyz = seen @ TO_XYZ.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_colours_can_be_told_apart(lacking):
    colours = np.concatenate([board.BACKGROUND, board.PALETTE])
    assert least_difference(colours, lacking) > 24
    assert least_difference(colours[:5], lacking) > 47


def test_one_index_is_one_frame_and_several_are_a_grid():
    made = make(num_envs=6)
    one = [gpusim.render(made, i) for i in range(6)]
    assert one[0].shape == (400, 600, 3)
    whole = gpusim.render(made, [5, 0, 3, 1])
    assert whole.shape == (2 * 400 + GAP, 2 * 600 + GAP, 3)
    for place, i in zip([(0, 0), (0, 1), (1, 0), (1, 1)], (5, 0, 3, 1), strict=True):
        y, x = place[0] * (400 + GAP), place[1] * (600 + GAP)
        assert np.array_equal(whole[y : y + 400, x : x + 600], one[i])
    assert (whole[400 : 400 + GAP] == GREY).all()
    assert (whole[:, 600 : 600 + GAP] == GREY).all()
    for same in (torch.tensor([5, 0, 3, 1]), np.array([5, 0, 3, 1]), (5, 0, 3, 1)):
        assert np.array_equal(gpusim.render(made, same), whole)
    assert np.array_equal(gpusim.render(made), gpusim.render(made, range(6)))
    assert np.array_equal(gpusim.render(made, np.int64(2)), one[2])
    assert np.array_equal(gpusim.render(NormalizeObservation(made), 2), one[2])


def test_frames_are_halved_until_they_fit():
    frames = [np.full((40, 60, 3), i, np.uint8) for i in range(5)]
    assert grid(frames, 5).shape == (3 * 40 + 2 * GAP, 2 * 60 + GAP, 3)
    small = grid(frames, 5, (64, 1000))
    assert small.shape == (3 * 20 + 2 * GAP, 2 * 30 + GAP, 3)
    assert (small[44:, 32:] == GREY).all()
    assert (small[22:42, 32:] == 3).all()
    assert grid(frames, 5, (63, 1000)).shape == (3 * 10 + 2 * GAP, 2 * 15 + GAP, 3)
    assert grid(frames[:1], 1, (1, 1)).shape == (1, 1, 3)  # a pixel is the least: 40 / 32
    made = np.arange(2 * 4 * 3).reshape(2, 4, 3).astype(np.uint8)
    assert np.array_equal(shrunk(made, 2), [[made[:, :2].mean((0, 1)).round(), made[:, 2:].mean((0, 1)).round()]])
    assert gpusim.render(make(BREAKOUT, 100), size=(300, 400)).shape[:2] <= (300, 400)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (1, (400, 600), (1, 1)),
        (2, (160, 160), (1, 2)),
        (4, (400, 600), (2, 2)),
        (5, (160, 160), (2, 3)),
        (16, (500, 500), (4, 4)),
        (6, (600, 200), (1, 6)),
    ],
)
def test_the_shape_of_a_grid(count, size, expected):
    assert shape(count, *size) == expected


def picture(state, params):
    frame = np.full((6, 8, 3), int(params.reach * 100), np.uint8)
    frame[: int(state.alive.sum()), int(state.x * 7)] = 200
    return frame


def test_an_environment_of_ones_own_brings_its_picture():
    env = replace(SWARM, render=picture)
    made = make(env, steps=5, params={"reach": torch.tensor([0.1, 0.2, 0.3, 0.4])})
    state = made.get_state().state
    for i in range(N):
        frame = gpusim.render(made, i)
        assert (frame[-1, 0] == (10, 20, 30, 40)[i]).all() or int(state.x[i] * 7) == 0
        assert (frame == 200).all(-1).sum() == min(6, int(state.alive[i].sum()))
    assert make(env, render_mode="rgb_array").render()[1].shape == (6, 8, 3)
    assert gpusim.render(make(TRAIL)).shape == (2 * 80 + GAP, 2 * 80 + GAP, 3)  # a board


def lost():
    made = make()
    state = made.get_state()
    made.set_state(state._replace(state=state.state._replace(x=torch.full((N,), torch.nan))))
    return made


def drawn_as(*shape):
    return make(replace(TOY, render=lambda s, p: np.zeros(shape, np.uint8)))


HEIGHTS = itertools.count(1)


def growing(state, params):
    """No frame is as high as the one before."""
    return np.zeros((next(HEIGHTS), 4, 3), np.uint8)


REFUSED = [
    (lambda: gpusim.render(make(), 4), r"indices must be whole numbers from 0 to 3, not 4"),
    (lambda: gpusim.render(make(), -1), r"indices must be whole numbers from 0 to 3, not -1"),
    (lambda: gpusim.render(make(), [0, 1.5]), r"from 0 to 3, not 1.5"),
    (lambda: gpusim.render(make(), [True]), r"from 0 to 3, not True"),
    (lambda: gpusim.render(make(), None.__class__), r"from 0 to 3, not <class 'NoneType'>"),
    (lambda: gpusim.render(make(), []), "indices names no environment"),
    (lambda: gpusim.render(make(TOY)), r"Toy-v0 cannot be drawn: give its Env a function render\(state, params\)"),
    (lambda: gpusim.render(make(DUSK)), "Dusk-v0 cannot be drawn"),
    (lambda: make(TOY, render_mode="rgb_array"), "Toy-v0 cannot be drawn"),
    (lambda: make(render_mode="human"), "render_mode must be None or \"rgb_array\", not 'human'"),
    (lambda: gpusim.render(gymnasium.make_vec("CartPole-v1", 2)), "only what gpusim.make gives"),
    (lambda: gpusim.render(make(replace(TOY, render=lambda s, p: np.zeros((3, 4))))), r"not float64 of shape \(3, 4\)"),
    (lambda: gpusim.render(drawn_as(0, 4, 3)), r"uint8 array .* not uint8 of shape \(0, 4, 3\)"),
    (lambda: gpusim.render(drawn_as(4, 0, 3)), r"uint8 array .* not uint8 of shape \(4, 0, 3\)"),
    (lambda: gpusim.render(make(replace(TOY, render=growing))), r"one shape, not \(1, 4, 3\) and \(2, 4, 3\)"),
    (lambda: gpusim.render(make(replace(TOY, render=lambda s, p: None))), r"uint8 array .* not NoneType"),
    (lambda: gpusim.render(lost()), "Gymnasium's renderer cannot draw CartPole-v1 at"),
]


@pytest.mark.parametrize(("ask", "sentence"), REFUSED, ids=[s for _, s in REFUSED])
def test_what_cannot_be_drawn(ask, sentence):
    with pytest.raises(InputError, match=sentence):
        ask()


def test_a_reset_comes_first():
    with pytest.raises(ResetNeeded):
        gpusim.render(gpusim.make("CartPole-v1", device="cpu"))


def test_without_pygame(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(InputError, match=r'drawn by pygame, which is missing: pip install "gpusim\[video\]"'):
        gpusim.render(make())
    assert gpusim.render(make(BREAKOUT)).any()


def test_render_mode_is_gymnasiums():
    made = gymnasium.make_vec("gpusim/CartPole-v1", num_envs=3, render_mode="rgb_array", device="cpu")
    made.reset(seed=0)
    frames = made.render()
    assert made.render_mode == "rgb_array"
    assert made.metadata["render_modes"] == ["rgb_array"]
    assert isinstance(frames, tuple)
    assert len(frames) == 3
    for i, frame in enumerate(frames):
        assert np.array_equal(frame, gpusim.render(made, i))
        assert np.array_equal(frame, made.unwrapped.call("render")[i])
    assert make().render() is None
    assert make(TOY).metadata["render_modes"] == []


def test_no_display_is_needed_and_none_is_left_behind():
    """No line on the terminal, no variable of the environment, and pygame shut by somebody else."""
    code = """
import os, gpusim, pygame
env = gpusim.make("CartPole-v1", 2, device="cpu")
env.reset(seed=0)
first = gpusim.render(env)
assert pygame.display.get_driver() == "dummy", pygame.display.get_driver()
assert "SDL_VIDEODRIVER" not in os.environ
pygame.quit()
assert (gpusim.render(env) == first).all()
"""
    without = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_gpusim_draws_nothing():
    code = "import sys, gpusim; print([m for m in ('pygame', 'imageio', 'gpusim.render.video') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
