"""Small environments of Gymnasium's kind, registered under ids that gpusim does not know."""

import sys

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Guess(gymnasium.Env):
    """An episode of `length` steps, each a reward of 1 for the action that is shown, else -2."""

    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length=4):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        reward = 1.0 if action == self.right else -2.0
        self.t += 1
        return self._obs(), reward, self.t == self.length, False, {}

    def _obs(self):
        self.right = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self.right]


class Odd(Guess):
    """Numbered observations, float64 rewards, and actions that begin at 5."""

    observation_space = Discrete(3)
    action_space = Discrete(2, start=5)

    def step(self, action):
        assert action in self.action_space
        obs, _, terminated, truncated, info = super().step(action - 5)
        return obs, np.float64(action), terminated, truncated, info | {"noise": self.np_random.random(3)}

    def _obs(self):
        super()._obs()
        return self.t % 3


class Lives(Guess):
    """An image, and three lives: one is lost at the second step, many are won, and all are lost at the sixth."""

    observation_space = Box(0, 255, (40, 40, 1), np.uint8)

    def reset(self, *, seed=None, options=None):
        obs, _ = super().reset(seed=seed)
        return obs, {"lives": 3}

    def step(self, action):
        obs, reward, _, _, _ = super().step(action)
        lives = (3, 3, 2, 2, 9, 9, 0)[self.t]
        return obs, 5.0 * reward, lives == 0, False, {"lives": lives}

    def _obs(self):
        super()._obs()
        return np.full((40, 40, 1), 100 * self.right + self.t, np.uint8)


class Fails(Guess):
    """Later than one looks when it is made."""

    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == 25:
            raise ArithmeticError("the pole broke")
        return super().step(action)


class Quits(Guess):
    """As a game does whose window is closed."""

    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == 25:
            sys.exit()
        return super().step(action)


class Long(Guess):
    def __init__(self):
        super().__init__(1000)


_ENVS = {
    "Guess": Guess, "GuessOdd": Odd, "GuessLives": Lives, "GuessFails": Fails, "GuessQuits": Quits, "GuessLong": Long,
}  # fmt: skip
for _id, _cls in _ENVS.items():
    if f"{_id}-v0" not in gymnasium.registry:
        gymnasium.register(f"{_id}-v0", _cls, max_episode_steps=50)
