"""`SimulatorVectorEnv`: a vector environment of any `gpusim.sim.protocol.Simulator`."""

import secrets
from typing import Any, NamedTuple

import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks
from gpusim.base import apart
from gpusim.book import Book, Rules, Step, Tally, account, count, reopened
from gpusim.errors import InputError
from gpusim.precision import float32
from gpusim.sim.protocol import Simulator
from gpusim.state import fit
from gpusim.stepped import SteppedVectorEnv
from gpusim.tree import changed, tree_map


class SimulatorState(NamedTuple):
    """What `SimulatorVectorEnv.get_state` gives; `[N]` unless said otherwise."""

    simulator: Any  # what `Simulator.state` gives
    obs: Tensor  # [N, *obs] what to act on next
    elapsed: Tensor  # steps since the reset, float32
    episode_return: Tensor  # float32
    terminated: Tensor  # bool, as in `gpusim.VectorState`
    truncated: Tensor  # bool
    episode: Tensor  # resets before this one since seeding, int64
    seed: Tensor  # int64 scalar
    clock: int  # steps since seeding


class SimulatorVectorEnv(SteppedVectorEnv):
    """The environments of a simulator, behind Gymnasium's vector interface, as `gpusim.VectorEnv`.

    Args:
        simulator: what steps them.
        autoreset_mode: `"same_step"`, `"next_step"` or `"disabled"`.
        max_episode_steps: the time limit; None takes the task's own, -1 takes none.
        copy: whether every step returns tensors of its own. With False the same tensors are filled anew at each step.
        validate: whether to look at the values of actions and masks, for which a GPU has to stop; None: on the CPU only.
        first_env: the number of the first environment, see `gpusim.VectorEnv`.

    Raises:
        InputError: an argument cannot be used.
    """

    backend = "simulator"

    def __init__(
        self,
        simulator: Simulator,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        copy: bool = True,
        validate: bool | None = None,
        first_env: int = 0,
    ):
        self.simulator: Any = simulator
        self.task: Any = simulator.task
        self.num_envs = simulator.num_envs
        self.device = torch.device(simulator.device)
        self._declare(self.task, autoreset_mode, max_episode_steps, copy, validate, first_env)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self._seed: Tensor | None = None
        self._book = self._blank()
        self._episode = torch.full((self.num_envs,), -1, device=self.device)
        self._obs = torch.empty(0)  # what to act on next, in memory that nobody else has

    def _blank(self) -> Book:
        with torch.inference_mode(False):
            zero = torch.zeros(self.num_envs, dtype=torch.float32, device=self.device)
            return Book(zero, zero.clone(), zero > 0, zero > 0)

    @property
    def seed(self) -> Tensor:
        """As `seeded`, an int64 scalar on the device; not to be written to."""
        self.require_reset()
        assert self._seed is not None
        return self._seed

    @property
    def episodes(self) -> Tensor:
        """`[N]` int64, the number of every environment's episode, from 0 at the reset with a seed."""
        self.require_reset()
        return self._episode.clone()

    def require_reset(self) -> None:
        if self.closed:
            raise InputError("this SimulatorVectorEnv has been closed; make a new one.")
        if self._seed is None:
            raise ResetNeeded("call reset() before anything else.")

    @float32
    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        """Begins new episodes: of all environments, or of those in `options["reset_mask"]`, as `VectorEnv.reset` does."""
        mask = self._masked(seed, options, self.validate)
        if mask is None:
            first = secrets.randbits(63) if seed is None else checks.seed(seed)
            super().reset(seed=seed)
        with apart():
            if mask is None and (seed is not None or self._seed is None):
                self._seed = torch.full((), first, dtype=torch.int64, device=self.device)
                self._episode = torch.full_like(self._episode, -1)
                self.clock = 0
            everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
            begins = everyone if mask is None else mask
            self._book = reopened(self._book, begins)
            self._begin(begins)
            new = self.simulator.observe()
            self._obs = new.clone() if mask is None else torch.where(_beside(begins, new), new, self._obs)
            return self._obs.clone(), {}

    def _begin(self, mask: Tensor) -> None:
        self._episode = self._episode + mask
        self.simulator.begin(mask, self.seed, self.index, self._episode)

    @float32
    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """As `step`, of actions that were checked; see `gpusim.rollout.Steppable`."""
        self.require_reset()
        with apart():
            reward, terminated = self.simulator.step(actions)
            rules = Rules(self.autoreset_mode, self.max_episode_steps)
            self._book, out = account(rules, self._book, reward.to(torch.float32) + 0.0, terminated | False)
            final_obs = self.simulator.observe().clone()  # the true one, before anything begins anew
            if self.autoreset_mode is AutoresetMode.DISABLED:
                self._obs = torch.where(_beside(out.valid, final_obs), final_obs, self._obs)
            else:
                self._begin(out.reset)
                self._obs = self.simulator.observe().clone()
            same = self.autoreset_mode is AutoresetMode.SAME_STEP
            out = changed(out, obs=self._obs.clone(), final_obs=final_obs if same else None)
        self.clock += 1
        return out, tally and count(tally, out)

    def more_infos(self) -> dict[str, Tensor]:
        """What the simulator tells of the last step beside what all environments do, `[N]` each."""
        told: dict[str, Tensor] = getattr(self.simulator, "infos", dict)()
        return {name: value.clone() for name, value in told.items()}

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""
        self.require_reset()
        return self._book.elapsed == 0.0

    def over(self) -> Tensor:
        """`[N]` bool, the environments that are over, where nothing resets them."""
        return self._book.terminated | self._book.truncated

    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next, as `reset` or the last step gave it."""
        self.require_reset()
        with apart():
            return self._obs.clone()

    def get_state(self) -> SimulatorState:
        """A copy of all that a trajectory depends on."""
        with apart():
            return tree_map(torch.clone, self._state())

    def _state(self) -> SimulatorState:
        state = self.simulator.state()
        return SimulatorState(state, self._obs, *self._book, self._episode, self.seed, self.clock)

    @float32
    def set_state(self, state: SimulatorState) -> None:
        """Puts back what `get_state` gave, here or in another environment of this kind.

        Raises:
            InputError: a field is missing, or has another shape or dtype than here; nothing has changed then.
            ResetNeeded: there has been no reset.
        """
        with apart():
            new = fit(state, self._state(), self.num_envs, self.device)
            self.simulator.load(new.simulator)
            self._obs, self._book, self._episode, self._seed = new.obs, Book(*new[2:6]), new.episode, new.seed
            self.clock = new.clock

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name` of this object, its result once for each environment."""
        value = getattr(self, checks.text("name", name))
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple:
        return self.call(name)

    def __repr__(self) -> str:
        return f"SimulatorVectorEnv({self.task.id!r}, num_envs={self.num_envs}, device={str(self.device)!r})"


def _beside(mask: Tensor, obs: Tensor) -> Tensor:
    """The mask `[N]` in as many dimensions as observations have."""
    return mask.view(-1, *[1] * (obs.ndim - 1))
