"""Videos: when they begin and end, against Gymnasium's own wrapper, and what is in the file, read back."""

import re
import subprocess
import sys
import types

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from gymnasium.wrappers import vector as theirs
from PIL import Image, ImageSequence

import gpusim
from gpusim import InputError
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.minatar.breakout import BREAKOUT
from gpusim.render.grid import GAP, GREY
from gpusim.render.video import Video
from gpusim.wrappers import NormalizeObservation, RecordVideo
from tests.envs.toys import TOY

N, SEED = 3, 5
MODES = ["same_step", "next_step", "disabled"]


def make(env=CARTPOLE, **kwargs):
    return gpusim.make(env, N, **({"device": "cpu", "backend": "eager", "max_episode_steps": 7} | kwargs))


@pytest.fixture
def recorded(monkeypatch):
    """The frames of every video, ours and Gymnasium's, by name; nothing is encoded."""
    made: dict[str, list[np.ndarray]] = {}

    class Clip:
        def __init__(self, frames, fps):
            self.frames = list(frames)

        def write_videofile(self, path, logger=None):
            made[path.rsplit("/", 1)[1]] = self.frames

    class Kept:
        def __init__(self, path, fps):
            self.path, self.all = path, []

        frames = property(lambda self: len(self.all))

        def add(self, frame):
            self.all.append(frame)

        def close(self):
            made[self.path.name] = self.all

        def discard(self):
            pass

    module = types.ModuleType("moviepy.video.io.ImageSequenceClip")
    module.ImageSequenceClip = Clip
    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("gpusim.wrappers.record_video.Video", Kept)
    return made


def play(env, steps, mode):
    """Resets, whole and masked, fall on steps of their own."""
    env.reset(seed=SEED)
    for t in range(steps):
        actions = torch.full((N,), t % 2)
        _, _, terminated, truncated, _ = env.step(actions)
        if mode == "disabled" and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})
        if t == 17:
            env.reset()
    env.close()


TRIGGERS = {
    "by default": {},
    "every other episode": {"episode_trigger": lambda e: e % 2 == 1},
    "steps, a length": {"step_trigger": lambda t: t % 9 == 4, "video_length": 3},
    "steps, whole episodes": {"step_trigger": lambda t: t in (6, 7, 21)},
    "steps that overlap": {"step_trigger": lambda t: t % 4 == 0, "video_length": 6},
    "episodes, a length": {"episode_trigger": lambda e: e in (1, 3), "video_length": 12},
    "both": {"episode_trigger": lambda e: e == 2, "step_trigger": lambda t: t == 3},
}
OFTEN = {"steps that overlap": pytest.mark.slow}


@pytest.mark.filterwarnings("ignore:.*(Overwriting existing|autoreset mode is same-step).*")
@pytest.mark.parametrize(
    "mode", ["same_step", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES if mode != "same_step")]
)
@pytest.mark.parametrize(
    "arguments", [pytest.param(x, id=name, marks=OFTEN.get(name, ())) for name, x in TRIGGERS.items()]
)
def test_videos_begin_and_end_as_gymnasiums(mode, arguments, recorded, tmp_path):
    play(
        theirs.RecordVideo(make(BREAKOUT, autoreset_mode=mode, render_mode="rgb_array"), str(tmp_path), **arguments),
        30,
        mode,
    )
    expected = dict(recorded)
    recorded.clear()
    play(RecordVideo(make(BREAKOUT, autoreset_mode=mode), tmp_path, **arguments), 30, mode)
    assert {name: len(frames) for name, frames in recorded.items()} == {n: len(f) for n, f in expected.items()}
    assert len(expected) >= 1
    for name, frames in recorded.items():
        for ours, other in zip(frames, expected[name], strict=True):
            corner = other[:160, :160]
            assert np.array_equal(ours[:160, :160], corner)


def test_episodes_are_those_of_the_first_that_is_shown(recorded, tmp_path):
    lengths = torch.tensor([1.0, 1.0, 0.03])  # the third falls at once
    env = RecordVideo(make(params={"x_limit": lengths}, max_episode_steps=6), tmp_path, [2, 0], episode_trigger=bool)
    env.reset(seed=SEED)
    ended = sum(int(env.step(torch.ones(N, dtype=torch.int64))[2][2]) for _ in range(12))
    env.close()
    assert env.episode_id == ended > 2
    assert next(iter(recorded.values()))[0].shape == (2 * 400 + GAP, 600, 3)


def test_no_value_is_looked_at_between_recordings(recorded, tmp_path):
    env = RecordVideo(make(), tmp_path, step_trigger=lambda t: t == 100, video_length=2)
    env.reset(seed=SEED)

    class Blind:
        def __getitem__(self, _):
            raise AssertionError("looked")

    step = env.env.step
    env.env.step = lambda actions: (*step(actions)[:2], Blind(), Blind(), step(actions)[4])
    env.step(torch.ones(N, dtype=torch.int64))
    env.episode_trigger = bool
    with pytest.raises(AssertionError, match="looked"):
        env.step(torch.ones(N, dtype=torch.int64))


def read(path):
    """The frames of a file, and how many make a second."""
    if path.suffix == ".gif":
        with Image.open(path) as file:
            return [np.array(f.convert("RGB")) for f in ImageSequence.Iterator(file)], 1000 / file.info["duration"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    width, height, fps = re.search(rb"h264.* yuv420p.* (\d+)x(\d+).* (\d+) fps", done.stderr).groups()
    return list(np.frombuffer(done.stdout, np.uint8).reshape(-1, int(height), int(width), 3)), int(fps)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_the_file_holds_the_frames(suffix, tmp_path):
    env = RecordVideo(
        NormalizeObservation(make()), tmp_path / "new", [1, 2], episode_trigger=lambda e: e == 1, suffix=suffix
    )
    env.reset(seed=SEED)
    expected = []
    for _ in range(14):
        env.step(torch.zeros(N, dtype=torch.int64))
        if env.recording:
            expected.append(gpusim.render(env, [1, 2]))
    env.close()
    path = tmp_path / "new" / f"rl-video-episode-1{suffix}"
    assert sorted((tmp_path / "new").iterdir()) == [path]
    frames, fps = read(path)
    assert fps == 50
    assert len(frames) == len(expected) == 7
    for shown, frame in zip(frames, expected, strict=True):
        assert shown.shape == frame.shape == (802, 600, 3)
        assert np.abs(shown.astype(int) - frame).mean() < 1.5
        assert (np.abs(shown.astype(int) - frame).max(-1) > 60).mean() < 0.01
    moved = (expected[0] != expected[-1]).any(-1)
    away = np.abs(frames[-1][moved].astype(int) - expected[0][moved]).mean()
    assert away > 3 * np.abs(frames[-1][moved].astype(int) - expected[-1][moved]).mean()


def test_odd_frames_are_made_even(tmp_path):
    with Video(tmp_path / "odd.mp4", 10) as video:
        for _ in range(3):
            video.add(np.full((33, 47, 3), 200, np.uint8))
    frame = read(tmp_path / "odd.mp4")[0][2]
    assert frame.shape == (34, 48, 3)
    assert np.abs(frame[:32, :46].astype(int) - 200).max() < 8
    assert np.abs(frame[33, 47].astype(int) - GREY).max() < 20


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_is_broken_off_leaves_what_was_there(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    path.write_text("before")

    def broken_off():
        with Video(path, 10) as video:
            video.add(np.zeros((32, 32, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with Video(path, 10):
        pass  # no frame
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_that_is_never_closed(tmp_path):
    """What a wrapper records is kept when the wrapper is gone; a file alone is thrown away."""
    env = RecordVideo(make(), tmp_path, 0)
    env.reset(seed=SEED)
    env.step(torch.ones(N, dtype=torch.int64))
    del env
    assert [p.name for p in tmp_path.iterdir()] == ["rl-video-episode-0.mp4"]
    code = f"""
import numpy as np
from gpusim.render.video import Video
video = Video({str(tmp_path / "x.mp4")!r}, 10)
video.add(np.zeros((32, 32, 3), np.uint8))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["rl-video-episode-0.mp4"]


def test_bad_input(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for kwargs, sentence in [
        ({"env": make(TOY)}, "Toy-v0 cannot be drawn"),
        ({"env": gymnasium.make_vec("CartPole-v1", 2)}, "RecordVideo wraps what gpusim.make gives"),
        ({"indices": 3}, "whole numbers from 0 to 2, not 3"),
        ({"video_length": -1}, "video_length must be a whole number of steps, or 0 for whole episodes, not -1"),
        ({"video_length": 1.5}, "not 1.5"),
        ({"fps": 0}, "fps must be positive, not 0"),
        ({"suffix": ".avi"}, "an .mp4 or a .gif, and .*rl-video.avi is neither"),
        ({"video_folder": tmp_path / "file"}, "the video cannot be written to .*file"),
    ]:
        with pytest.raises(InputError, match=sentence):
            RecordVideo(**({"env": make(), "video_folder": tmp_path / "videos"} | kwargs))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "gpusim\[video\]"'):
        RecordVideo(make(), tmp_path / "videos")
