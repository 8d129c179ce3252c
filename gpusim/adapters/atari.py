"""Atari games as they are usually learned: Gymnasium's preprocessing, four frames as the channels of one image, and FIRE.

An observation is `[84, 84, 4]` of bytes, grey, each frame the maximum of the last two of the four that an action lasts,
the newest last. An episode begins after up to 30 idle frames (Machado et al., 2018), with FIRE where a game has it.
"""

from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

FRAMES = 4  # of one observation, and that an action lasts
SIZE = 84


def make(id: str, **kwargs: Any) -> gymnasium.Env:
    """One game.

    Args:
        id: `ALE/Pong-v5`, `PongNoFrameskip-v4` and the like.
        kwargs: of `gymnasium.make`, as `repeat_action_probability`.
    """
    import_module("cv2").setNumThreads(0)  # a process for each environment is enough
    env: Any = gymnasium.make(id, frameskip=1, disable_env_checker=True, **kwargs)
    env = FireReset(AtariPreprocessing(env, frame_skip=FRAMES, screen_size=SIZE))
    return Channels(FrameStackObservation(env, FRAMES))


class FireReset(gymnasium.Wrapper):
    """Presses FIRE when a game begins; after a lost life the player has to."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        unwrapped: Any = env.unwrapped
        meanings = unwrapped.get_action_meanings()
        self.fire = meanings.index("FIRE") if "FIRE" in meanings else None

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        obs, info = self.env.reset(**kwargs)
        if self.fire is not None:
            obs, _, terminated, truncated, info = self.env.step(self.fire)
            if terminated or truncated:
                obs, info = self.env.reset()
        return obs, info


class Channels(gymnasium.ObservationWrapper):
    """Frames `[4, 84, 84]` as the channels of an image `[84, 84, 4]`."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.observation_space = Box(0, 255, (SIZE, SIZE, FRAMES), np.uint8)

    def observation(self, observation: Any) -> np.ndarray:
        return np.moveaxis(observation, 0, -1)
