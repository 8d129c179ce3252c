"""A policy filmed while it plays: gpusim's environments as `gpusim.render` draws them, others as they draw themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import gpusim
from gpusim.adapters.gymnasium_host import pictured
from gpusim.adapters.libraries import explained
from gpusim.agents.train.environments import describe
from gpusim.agents.train.evaluate import LONGEST, InPlay, Loaded
from gpusim.errors import InputError
from gpusim.host import HostEnv
from gpusim.render import render_problem
from gpusim.render.grid import grid
from gpusim.render.video import Video

Progress = Callable[[int, int], None]


@torch.no_grad()
def record(
    policy: Loaded,
    path: str | Path,
    num_envs: int,
    seed: int,
    steps: int | None = None,
    seconds: float = 60.0,
    device: str = "auto",
    progress: Progress = lambda done, most: None,
) -> tuple[int, Tensor]:
    """A video of one episode in each of `num_envs` environments; of gpusim's, the first that `evaluate` plays by that seed.

    It ends with the last episode, or after so many steps, or seconds of the video; one that ended sooner stands still.

    Args:
        path: .mp4 or .gif.
        progress: told of every frame how many there are, and can be.

    Returns:
        frames: how many.
        returns: `[num_envs]`, of unfinished episodes so far.

    Raises:
        InputError: the environment cannot be drawn, or the file not be written.
    """
    task = describe(policy.env)
    if isinstance(task, HostEnv):
        return _record_on_host(policy, path, num_envs, seed, steps, seconds, progress)
    if sentence := render_problem(task):
        raise InputError(sentence)
    venv = gpusim.make(task, num_envs, device=device, autoreset_mode="disabled", validate=False)
    rate = venv.metadata["render_fps"]
    most = _most(venv.max_episode_steps, rate, steps, seconds)
    with Video(path, rate) as video:
        (obs, _), act = venv.reset(seed=seed), InPlay(policy)
        video.add(gpusim.render(venv))
        for _ in range(most):
            obs, _, terminated, truncated, infos = venv.step(act(obs))
            video.add(gpusim.render(venv))
            progress(video.frames, most + 1)
            if (terminated | truncated).all():
                break
    return video.frames, infos["episode"]["r"].cpu()


def _record_on_host(
    policy: Loaded, path: str | Path, num_envs: int, seed: int, steps: int | None, seconds: float, progress: Progress
) -> tuple[int, Tensor]:
    games, rate = pictured(policy.env.id, num_envs)
    most = _most(policy.env.max_episode_steps, rate, steps, seconds)
    returns, playing, act = torch.zeros(num_envs), [True] * num_envs, InPlay(policy)
    try:
        with Video(path, rate) as video:
            seen = [game.reset(seed=seed + i)[0] for i, game in enumerate(games)]
            frames = [game.render() for game in games]
            video.add(grid(frames, num_envs))
            for _ in range(most):
                actions = act(np.stack(seen))
                for i, game in enumerate(games):
                    if playing[i]:
                        with explained(policy.env.id, None, "filmed"):
                            seen[i], reward, terminated, truncated, _ = game.step(actions[i])
                            frames[i] = game.render()
                        returns[i] += float(reward)
                        playing[i] = not (terminated or truncated)
                video.add(grid(frames, num_envs))
                progress(video.frames, most + 1)
                if not any(playing):
                    break
    finally:
        for game in games:
            game.close()
    return video.frames, returns


def _most(limit: int | None, rate: float, steps: int | None, seconds: float) -> int:
    """Steps that are filmed if no episode ends sooner."""
    return min(limit or LONGEST, steps or LONGEST, max(1, int(seconds * rate)))
