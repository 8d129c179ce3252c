"""Videos of episodes, now and then."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.errors import InputError
from gpusim.render import env_indices, render, render_problem
from gpusim.render.video import Video
from gpusim.wrappers.wrapper import Returned, Wrappable, Wrapper

WHOLE = 0  # the length that means: to the end of the episode


def cubes(episode: int) -> bool:
    """Gymnasium's choice: 0, 1, 8, 27, ..., then every thousandth."""
    return round(episode ** (1 / 3)) ** 3 == episode if episode < 1000 else episode % 1000 == 0


class RecordVideo(Wrapper):
    """Writes videos, of the episodes or from the steps that a trigger names, as Gymnasium's vector `RecordVideo` does.

        env = RecordVideo(gpusim.make("CartPole-v1", 64), "videos", indices=range(9), step_trigger=lambda t: t % 10_000 == 0)

    Episodes are those of the first environment that is shown, numbered from 0; steps count from 0 too. A video of length L
    has L + 1 pictures: one more from before the first step, or, with a `step_trigger`, from after it. In SAME_STEP an
    episode's last state is gone when a picture is taken, and the video ends before it. A video that is being recorded
    when `close` is called is kept; of several with one name, the last.

    A GPU is waited for at every step, to see whether the episode ended; with a `step_trigger` alone and a length, only while
    recording.

    Args:
        video_folder: where `PREFIX-episode-E.mp4` and `PREFIX-step-T.mp4` are written; made if it is not there.
        indices: the environments to show, see `gpusim.render`; None for all.
        episode_trigger: says of an episode's number whether to record it. Without any trigger, episodes 0, 1, 8, 27, ...
            and every thousandth are recorded.
        step_trigger: says of a step's number whether to begin there.
        video_length: in steps; 0 for the whole episode.
        name_prefix: what the names begin with.
        fps: frames per second; None takes the environment's own, `metadata["render_fps"]`.
        suffix: ".mp4" or ".gif".
        size: height and width that a picture keeps to, see `gpusim.render`.

    Raises:
        InputError: the environment cannot be drawn, an argument cannot be used, or a library is missing.
    """

    _video: Video | None = None  # being recorded

    def __init__(
        self,
        env: Wrappable,
        video_folder: str | Path,
        indices: Any = None,
        *,
        episode_trigger: Callable[[int], bool] | None = None,
        step_trigger: Callable[[int], bool] | None = None,
        video_length: int = WHOLE,
        name_prefix: str = "rl-video",
        fps: float | None = None,
        suffix: str = ".mp4",
        size: tuple[int, int] | None = (1080, 1920),
    ):
        super().__init__(env)
        if sentence := render_problem(self.unwrapped.task):
            raise InputError(sentence)
        if isinstance(video_length, bool) or not isinstance(video_length, int) or video_length < 0:
            raise InputError(
                f"video_length must be a whole number of steps, or 0 for whole episodes, not {video_length!r}."
            )
        if fps is not None and not fps > 0:
            raise InputError(f"fps must be positive, not {fps!r}.")
        if not (episode_trigger or step_trigger):
            episode_trigger = cubes
        self.video_folder, self.indices, self.size = Path(video_folder), env_indices(indices, self.num_envs), size
        self.episode_trigger, self.step_trigger, self.video_length = episode_trigger, step_trigger, video_length
        self.name_prefix, self.suffix, self.fps = name_prefix, suffix, fps or self.metadata["render_fps"]
        Video(self._path(name_prefix), self.fps).discard()  # so that what cannot be written is refused now
        self.step_id = self.episode_id = -1
        self._over = False  # whether the episode that is counted has ended, and the next begins at the next step

    @property
    def recording(self) -> bool:
        return self._video is not None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        """As `VectorEnv.reset`; a new episode of the environment that is counted may start a video."""
        obs, infos = super().reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        if mask is None or mask[self.indices[0]]:
            self._over = False
            self._next_episode()
        self._take()
        return obs, infos

    def _stepped(self, step: Returned) -> Returned:
        self.step_id += 1
        if self.episode_trigger or self.video_length == WHOLE:
            first, mode = self.indices[0], self.autoreset_mode
            over = bool(step.terminated[first] | step.truncated[first])
            if self._over if mode is AutoresetMode.NEXT_STEP else over and mode is AutoresetMode.SAME_STEP:
                self._next_episode()
            self._over = over
        if self.step_trigger and self.step_trigger(self.step_id):
            self.start_recording(f"{self.name_prefix}-step-{self.step_id}")
        self._take()
        return step

    def _next_episode(self) -> None:
        self.episode_id += 1
        if self.video_length == WHOLE:
            self.stop_recording()
        if self.episode_trigger and self.episode_trigger(self.episode_id):
            self.start_recording(f"{self.name_prefix}-episode-{self.episode_id}")

    def _take(self) -> None:
        if self._video is None:
            return
        self._video.add(render(self.env, self.indices, size=self.size))
        if self.video_length != WHOLE and self._video.frames > self.video_length:
            self.stop_recording()

    def _path(self, name: str) -> Path:
        return self.video_folder / f"{name}{self.suffix}"

    def start_recording(self, name: str) -> None:
        """Begins a video, after the end of one that is being recorded."""
        self.stop_recording()
        self._video = Video(self._path(name), self.fps)
        self._finish = weakref.finalize(self, self._video.close)  # also where nobody calls `close`

    def stop_recording(self) -> None:
        """The video being recorded, if there is one, is complete."""
        if self._video:
            self._video = None
            self._finish()

    def close(self, **kwargs: Any) -> None:
        """As `VectorEnv.close`; a video that is being recorded is kept."""
        self.stop_recording()
        super().close(**kwargs)
