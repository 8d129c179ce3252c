"""`gpusim eval RUN --video`: the episodes that are filmed are those that are evaluated; nothing is left of a broken one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from unittest.mock import Mock

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image

import gpusim
from gpusim import InputError
from gpusim.agents.app import film as module
from gpusim.agents.app.cli import main
from gpusim.agents.app.film import record
from gpusim.agents.train.evaluate import Policy, evaluate, load_policy
from gpusim.agents.train.run import RunFolder, make_learner, preset
from gpusim.host import HostEnv
from tests.envs import hosted
from tests.envs.toys import TOY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that has learned nothing yet."""
    path = tmp_path_factory.mktemp("runs") / "a"
    config = preset("ppo", "CartPole-v1", device="cpu", num_envs=4, minibatches=1)
    RunFolder.create(path, "ppo", config).checkpoint(make_learner("ppo", config), [])
    return path


class Kept:
    """In place of a file: the frames."""

    made: dict = {}  # noqa: RUF012

    def __init__(self, path, fps):
        self.path, self.fps, self.all = path, fps, []

    frames = property(lambda self: len(self.all))

    def add(self, frame):
        self.all.append(frame)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        Kept.made[self.path] = self


def test_the_first_of_the_evaluated_episodes_are_filmed(run, monkeypatch):
    monkeypatch.setattr(module, "Video", Kept)
    policy, told = load_policy(run, deterministic=True, device="cpu"), []
    frames, returns = record(policy, "x", 3, 5, device="cpu", progress=lambda *done: told.append(done))
    assert torch.equal(returns, evaluate(policy, "CartPole-v1", 8, 5, "cpu")[:3])
    video = Kept.made["x"]
    assert frames == len(video.all) == returns.max() + 1  # CartPole's return is its length
    assert video.fps == 50
    assert told == [(i + 2, 501) for i in range(frames - 1)]
    env = gpusim.make("CartPole-v1", 3, device="cpu", autoreset_mode="disabled", validate=False)
    obs, _ = env.reset(seed=5)
    for i, frame in enumerate(video.all):
        if i % 5 == 0:
            assert np.array_equal(frame, gpusim.render(env))
        obs = env.step(policy(obs))[0]


def test_a_film_is_no_longer_than_asked(run, monkeypatch):
    monkeypatch.setattr(module, "Video", Kept)
    policy = load_policy(run, device="cpu")
    assert record(policy, "x", 1, 0, steps=3, device="cpu")[0] == 4
    assert record(policy, "x", 1, 0, seconds=0.1, device="cpu")[0] == 6
    assert record(policy, "x", 1, 0, steps=3, seconds=0.04, device="cpu")[0] == 3
    policy.env = replace(TOY)
    with pytest.raises(InputError, match="Toy-v0 cannot be drawn"):
        record(policy, "x", 1, 0)


def command(*args):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


def test_the_command(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command("eval", run, "--video", "new/out.gif", "--video-steps", 4, "--episodes", 2, "--video-envs", 2) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "new/out.gif: 5 frames, returns 4, 4"
    assert second.startswith("gpusim's CartPole-v1: ")
    with Image.open("new/out.gif") as file:
        assert (file.n_frames, file.size, file.info["duration"]) == (5, (600, 802), 20)
    for args, sentence in [
        (["--video", "out.avi"], "a video is an .mp4 or a .gif, and out.avi is neither"),
        (["--video", "out.mp4", "--video-envs", "0"], "video_envs must be a positive whole number, not 0"),
        (["--video", "out.mp4", "--video-steps", "0"], "video_steps must be a positive whole number, not 0"),
        (["--video", "out.mp4", "--video-seconds", "0"], "video_seconds must be positive, not 0.0"),
        (["--video", "out.mp4", "--oracle"], "leave --oracle out"),
        (["--video", "new/out.gif/x.mp4"], "the video cannot be written to new/out.gif"),
    ]:
        assert command("eval", run, *args) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert err.count("\n") == 1
    assert [p.name for p in tmp_path.rglob("*")] == ["new", "out.gif"]


def test_ctrl_c_leaves_no_broken_file(run, tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("before")
    args = [sys.executable, "-m", "gpusim.agents", "eval", run, "--video", path, "--video-envs", "64"]
    asked = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    part, end = tmp_path / "out.part.mp4", time.monotonic() + 120
    while not part.exists() and asked.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(asked.pid, signal.SIGINT)
    out, err = asked.communicate(timeout=60)
    assert (asked.returncode, err) == (130, "")
    assert out.endswith("stopped: no video was written\n")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("id", ["LunarLander-v3", "Quiet-v0"])
def test_environments_of_the_host_draw_themselves(id, tmp_path, monkeypatch):
    pytest.importorskip("Box2D")
    monkeypatch.setattr(module, "Video", Kept)
    gymnasium.register("Quiet-v0", lambda **_: gymnasium.make("CartPole-v1"))
    try:
        path, config = tmp_path / "run", preset("ppo", id, device="cpu", num_envs=2, num_steps=4, minibatches=1)
        learner = make_learner("ppo", config)
        RunFolder.create(path, "ppo", config).checkpoint(learner, [])
        learner.env.close()
        policy = load_policy(path, deterministic=True, device="cpu")
        if id == "Quiet-v0":
            with pytest.raises(InputError, match="Quiet-v0 does not draw itself"):
                record(policy, "z", 2, 5)
            return
        frames, returns = record(policy, "z", 2, 5)
        assert torch.allclose(returns, evaluate(policy, id, 2, 5, "cpu"), atol=1e-4)
        video = Kept.made["z"]
        assert (video.fps, video.all[0].shape) == (50, (802, 600, 3))
        assert frames == len(video.all) > 50
        assert not np.array_equal(video.all[0], video.all[40])
    finally:
        gymnasium.registry.pop("Quiet-v0")


class Torn(hosted.Fails):
    """Drawn, until it fails."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        super().__init__(1000)
        self.render_mode = render_mode

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class Blank(Torn):
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, render_mode=None):
        super().__init__()


def test_gymnasium_adds_nothing_to_the_sentence_of_what_does_not_draw_itself(monkeypatch, recwarn):
    monkeypatch.setitem(gymnasium.registry, "Blank-v0", gymnasium.envs.registration.EnvSpec("Blank-v0", Blank))
    with pytest.raises(InputError, match=r"^Blank-v0 does not draw itself \(it has no render mode rgb_array\)\.$"):
        module.pictured("Blank-v0", 1)
    assert not recwarn.list


def test_an_environment_that_fails_while_it_is_filmed_is_one_sentence(monkeypatch):
    monkeypatch.setattr(module, "Video", Kept)
    monkeypatch.setitem(gymnasium.registry, "Torn-v0", gymnasium.envs.registration.EnvSpec("Torn-v0", Torn))
    played = {"return_value": np.zeros(1, np.int64), "env": Mock(spec=HostEnv, id="Torn-v0", max_episode_steps=None)}
    policy = Mock(spec=Policy, **played)
    with pytest.raises(InputError, match=r"Torn-v0 cannot be filmed: ArithmeticError in hosted.py, line \d+: the pole"):
        record(policy, "x", 1, 0)
