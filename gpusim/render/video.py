"""A video file, written frame by frame; it is there as a whole or not at all."""

import importlib.util
import os
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.errors import InputError
from gpusim.render.grid import GREY

PALETTES = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none"  # each frame its own
KINDS: dict[str, dict[str, Any]] = {
    ".mp4": {"codec": "libx264", "quality": 8},
    ".gif": {"codec": "gif", "pix_fmt_out": "pal8", "quality": None, "output_params": ["-filter_complex", PALETTES]},
}


class Video:
    """Takes frames of one size and makes an .mp4 (H.264) or a .gif of them; used as a context, an error leaves no file.

    Args:
        path: of the file, which takes the place of another when `close` is called.
        fps: frames per second. A .gif counts hundredths of a second.

    Raises:
        InputError: the file cannot be written, is of another kind, or a library is missing.
    """

    def __init__(self, path: str | Path, fps: float):
        self.path, self.fps, self.frames = Path(path), fps, 0
        if self.path.suffix not in KINDS:
            raise InputError(f"a video is an .mp4 or a .gif, and {self.path} is neither.")
        self._part = self.path.with_suffix(f".part{self.path.suffix}")
        _check(self._part)
        self._ffmpeg: list[Any] = []  # a generator that takes frames, from the first on
        self._discard = weakref.finalize(self, _discard, self._ffmpeg, self._part)

    def add(self, frame: np.ndarray) -> None:
        """One frame more, `[H, W, 3]` uint8. What is odd is made even by a grey line, which H.264 asks for."""
        even = np.pad(frame, (*((0, n % 2) for n in frame.shape[:2]), (0, 0)), constant_values=GREY)
        if not self._ffmpeg:
            self._ffmpeg.append(self._start(even.shape[1], even.shape[0]))
        self._ffmpeg[0].send(even)
        self.frames += 1

    def _start(self, width: int, height: int) -> Any:
        import imageio_ffmpeg  # type: ignore[import-untyped]

        kind = KINDS[self.path.suffix]
        ffmpeg = imageio_ffmpeg.write_frames(
            self._part, (width, height), fps=self.fps, macro_block_size=1, ffmpeg_log_level="error", **kind
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is started beside torch's threads
            ffmpeg.send(None)
        return ffmpeg

    def close(self) -> None:
        """The file is whole; without a frame there is none."""
        if self._discard.alive and self.frames:
            self._ffmpeg[0].close()
            os.replace(self._part, self.path)
        self.discard()

    def discard(self) -> None:
        """Leaves nothing behind, unless it is closed already."""
        self._discard()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, error: Any, *_: Any) -> None:
        if error:
            self.discard()
        else:
            self.close()


def _check(part: Path) -> None:
    """Refuses, before anything is drawn, what could not be written."""
    if not importlib.util.find_spec("imageio_ffmpeg"):
        raise InputError('videos are written by ffmpeg, which is missing: pip install "gpusim[video]"')
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise InputError(f"the video cannot be written to {part.parent}: {error.strerror}.") from None


def _discard(ffmpeg: list[Any], part: Path) -> None:
    try:
        for running in ffmpeg:
            running.close()
    finally:
        part.unlink(missing_ok=True)
