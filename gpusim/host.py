"""`HostVectorEnv`: environments that step on the host, with the interface of `VectorEnv` that rollouts and learners use.

Their state lives in other processes or in a library of threads, an `Engine`. In a rollout the observations and the actions
alone cross between host and device at every step. Rewards and flags are written down while the engine makes the next
step, and cross when the last is made. What goes to a GPU goes out of page-locked memory, without waiting.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks, engine
from gpusim.base import TensorVectorEnv, apart
from gpusim.book import Book, Rules, Step, Tally, account, count, reopened
from gpusim.errors import InputError
from gpusim.rollout import Policy, Rollout, Steps, rollout


class HostStep(NamedTuple):
    """One step of N environments as arrays, in SAME_STEP."""

    obs: np.ndarray  # [N, *obs] to act on next; valid until the engine is asked again
    reward: np.ndarray  # [N]
    terminated: np.ndarray  # [N] bool
    truncated: np.ndarray  # [N] bool
    final_obs: np.ndarray | None  # [K, *obs] of the K environments that ended, before their reset; None where none did
    lives: np.ndarray | None  # [N] left, where a game counts them


class Engine(Protocol):
    """What steps the environments."""

    where: str  # "by 8 processes"

    def reset(self, seed: int | None, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Begins new episodes of all environments, or of the masked; the observations and lives of all."""

    def send(self, actions: np.ndarray) -> None:
        """Starts a step."""

    def receive(self) -> HostStep:
        """Waits for it."""

    def close(self) -> None: ...

    def kill(self) -> None:
        """Ends everything at once, whatever it is doing."""


@dataclass(frozen=True, eq=False)
class HostEnv:
    """What an environment is whose state lives elsewhere; beside `gpusim.Env`, whose attributes have the same meaning.

    Attributes:
        engines: by name what starts N environments, the preferred one first.
    """

    id: str
    observation_space: Box
    action_space: Discrete | Box
    max_episode_steps: int | None
    reward_threshold: float | None
    engines: Mapping[str, Callable[[int], Engine]]

    def __post_init__(self) -> None:
        checks.spaces(self.id, self.observation_space, self.action_space)

    def engine(self, name: str) -> str:
        """The engine to use.

        Raises:
            InputError: there is none of that name.
        """
        if name == "auto":
            return next(iter(self.engines))
        if name not in self.engines:
            known = ", ".join(f'"{known}"' for known in ("auto", *self.engines))
            raise InputError(f"{self.id} steps on the host, where backend {name!r} is not known; use {known}.")
        return name


def staged(array: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A copy on the host from which to copy to the device: for a GPU in page-locked memory, kept until it is read."""
    memory = torch.empty(array.shape, dtype=dtype, pin_memory=device.type == "cuda")
    np.copyto(memory.numpy(), array)
    return memory


RULES = Rules(AutoresetMode.SAME_STEP, None)  # the engines keep the time limits
ROW = ("reward", "terminated", "truncated", "episode_return", "episode_length", "life_lost")


class HostVectorEnv(TensorVectorEnv):
    """`num_envs` environments that step together on the host; what they return are tensors on `device`.

    It resets within the step (SAME_STEP), and `infos` has the keys of `VectorEnv`, and `lives` where a game counts them.
    What else an environment tells in its own infos stays behind. Its state cannot be copied.

    Args:
        env: what `gpusim.adapters.gymnasium_host.host_env` gives.
        num_envs: N.
        device: where observations, rewards and flags are wanted: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:N"`.
        engine: a name in `env.engines`, or `"auto"`.
        validate: whether to look at the values of actions; None: on the CPU only.

    Attributes:
        task: the `HostEnv` that was given.

    Raises:
        InputError: an argument cannot be used, or the environments cannot be started.
    """

    single_observation_space: Box
    single_action_space: Discrete | Box
    copy = True  # what is returned is the caller's own
    autoreset_mode = AutoresetMode.SAME_STEP

    def __init__(
        self,
        env: HostEnv,
        num_envs: int = 1,
        *,
        device: str | torch.device = "auto",
        engine: str = "auto",
        validate: bool | None = None,
        first_env: int = 0,
    ):
        self.task: HostEnv = env
        self.num_envs = checks.positive("num_envs", num_envs)
        self.device = checks.device(device)
        checks.memory(env.id, self.num_envs, env.observation_space, self.device)
        self.backend = env.engine(engine)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self.max_episode_steps = env.max_episode_steps
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.validate = self.device.type == "cpu" if validate is None else validate
        self.clock = 0  # steps since seeding, the counter of random actions
        self.first_env = checks.first_env(first_env, self.num_envs)
        self.index = self.first_env + torch.arange(self.num_envs, device=self.device)
        self._seed: Tensor | None = None
        self._dtype = getattr(torch, np.dtype(env.observation_space.dtype).name)
        self.seen = torch.empty(0, dtype=torch.float32)  # the observations `[N, *obs]`, on the host
        actions = (self.num_envs, *(env.action_space.shape or ()))
        wanted = torch.int64 if isinstance(env.action_space, Discrete) else torch.float32
        self._actions = torch.zeros(actions, dtype=wanted, pin_memory=self.device.type == "cuda")
        nowhere = np.zeros(self.num_envs, bool)
        self._book = Book(np.zeros(self.num_envs), np.zeros(self.num_envs), nowhere, nowhere)
        self._episode = np.zeros(self.num_envs, np.int64)
        self._lives: np.ndarray | None = None
        self._engine = env.engines[self.backend](self.num_envs)

    @property
    def where(self) -> str:
        """As in "by 8 processes"."""
        return self._engine.where

    @property
    def episodes(self) -> Tensor:
        """`[N]` int64, the number of every environment's episode, from 0 at the reset with a seed."""
        return self.sent(self._episode, torch.int64)

    @property
    def seeded(self) -> int:
        """The seed in force, given or drawn: environment i was seeded with as much + first_env + i."""
        return int(self._live())

    @property
    def counts_lives(self) -> bool:
        """Whether it is a game that counts lives; known from the first reset on."""
        return self._lives is not None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        """Begins new episodes: of all environments, or of those in `options["reset_mask"]`, as `VectorEnv.reset` does.

        With a seed, environment i is seeded with seed + first_env + i, as Gymnasium does it for those of one vector.
        """
        given = self._masked(seed, options, validate=True)
        mask = None if given is None else given.cpu().numpy()
        self._open()
        if seed is not None:
            seed = checks.seed(seed)
            super().reset(seed=seed)
        if anew := mask is None and (seed is not None or self._seed is None):
            self.clock, first = 0, secrets.randbits(63) if seed is None else seed
            self._seed = torch.full((), first, dtype=torch.int64, device=self.device)
        own = None if seed is None else seed + self.first_env
        obs, lives = self._asked("reset", lambda: self._engine.reset(own, mask))
        rows = slice(None) if mask is None else mask
        self._episode[rows] = 0 if seed is not None or anew else self._episode[rows] + 1
        self._book = reopened(self._book, np.ones(self.num_envs, bool) if mask is None else mask)
        self._lives = None if lives is None else lives.copy()
        self._see(obs)
        return self.observe(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step of every environment, as `VectorEnv.step`."""
        out, lost = self._advance(self.check_actions(actions))
        with apart():
            infos = {
                "final_obs": out.obs.clone() if out.final_obs is None else out.final_obs,
                "_final_obs": out.reset,
                "episode": {"r": out.episode_return, "l": out.episode_length.to(torch.int32)},
                "_episode": out.reset.clone(),
                "reset": out.reset.clone(),
            }
            if self._lives is not None:
                infos["lives"] = self.sent(self._lives, torch.int32)
                infos["life_lost"] = lost
            return out.obs, out.reward, out.terminated, out.truncated, infos

    def _advance(self, actions: Tensor) -> tuple[Step, Tensor]:
        """A step, and where a life was lost but not the last."""
        got = self.exchange(actions)
        with apart():
            row = torch.empty((len(ROW), self.num_envs), dtype=torch.float32, pin_memory=self.device.type == "cuda")
            ended = self.write_down(got, row.numpy())
            obs, final = self.observe(), None
            if got.final_obs is not None:
                final = obs.clone()
                final[self.sent(ended, torch.int64)] = self.sent(got.final_obs, self._dtype)
            reward, terminated, truncated, returns, length, lost = row.to(self.device, non_blocking=True).unbind()
            flags = terminated != 0, truncated != 0
            over = flags[0] | flags[1]
            return Step(obs, final, reward.clone(), *flags, over, None, returns.clone(), length.clone()), lost != 0

    def exchange(self, actions: Tensor, meanwhile: Callable[[], None] = lambda: None) -> HostStep:
        """One step of the engine, and what is done while it lasts."""
        host = self._to_host(actions)

        def ask() -> HostStep:
            self._engine.send(host)
            meanwhile()
            return self._engine.receive()

        got = self._asked("step", ask)
        self.clock += 1
        self._see(got.obs)
        return got

    def write_down(self, got: HostStep, row: np.ndarray) -> np.ndarray:
        """Writes a step's ROW down, `[6, N]`, and counts it; which environments ended."""
        self._book, out = account(RULES, self._book, got.reward, got.terminated, got.truncated)
        lost = self._lost(got.lives) & ~out.reset
        columns = out.reward, out.terminated, out.truncated, out.episode_return, out.episode_length, lost
        for part, values in zip(row, columns, strict=True):
            part[:] = values
        self._episode += out.reset
        self._lives = None if got.lives is None else got.lives.copy()
        return out.reset.nonzero()[0]

    def _lost(self, lives: np.ndarray | None) -> np.ndarray:
        unknown = lives is None or self._lives is None
        return np.zeros(self.num_envs, bool) if unknown else lives < self._lives  # type: ignore[operator]

    def _see(self, obs: np.ndarray) -> None:
        with torch.inference_mode(False):
            self.seen = staged(obs, self._dtype, self.device)

    def sent(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        """On the device; a GPU is not waited for."""
        return staged(array, dtype, self.device).to(self.device, non_blocking=True)

    def _to_host(self, actions: Tensor) -> np.ndarray:
        """The one place where a GPU is waited for."""
        self._actions.copy_(actions, non_blocking=True)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return self._actions.numpy()

    def _asked(self, what: str, ask: Callable[[], Any]) -> Any:
        """What an engine answers; one that fails is ended, and why becomes a sentence."""
        try:
            return ask()
        except Exception as error:
            self._end()
            if isinstance(error, EOFError | ConnectionError):
                sentence = f"a process that steps {self.task.id} was ended from outside; make the environments anew."
            else:
                sentence = f"{self.task.id} failed in {what}: {str(error).rstrip('.') or type(error).__name__}."
            raise InputError(sentence) from error
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self._engine.kill()
        self.closed = True

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the processes; `close` calls it."""
        if "_engine" in vars(self):
            self._engine.close()

    def rollout(
        self, num_steps: int, policy: Policy | None = None, *, transitions: bool = True, policy_state: Any = None
    ) -> Rollout:
        """`num_steps` steps from where the environments stand; see `gpusim.rollout.rollout`.

        Where a game counts lives, `extras["life_lost"]` `[T, N]` tells the steps at which one was lost, but not the last.
        """
        return rollout(self, num_steps, policy, transitions=transitions, policy_state=policy_state)

    def fast_rollout(self, num_steps: int, policy: Policy | None, transitions: bool) -> Rollout | None:
        """None: there is no way but step by step."""
        return None

    def recorder(self, num_steps: int) -> "HostSteps":
        """What makes the steps of a rollout, and keeps each while the next is made."""
        self._live()
        return HostSteps(self, num_steps)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name` of this object, its result once for each environment."""
        value = getattr(self, name)
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple:
        return self.call(name)

    def render(self) -> None:
        """Nothing: `gpusim eval RUN --video` films a policy."""
        return None

    def __getattr__(self, name: str) -> Any:
        if name in ("get_state", "set_state"):
            raise AttributeError(f"{self.task.id} is stepped {self.where}, and there its state cannot be reached.")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def __repr__(self) -> str:
        facts = f"num_envs={self.num_envs}, device={str(self.device)!r}, engine={self.backend!r}"
        return f"HostVectorEnv({self.task.id!r}, {facts})"

    def _open(self) -> None:
        if self.closed:
            raise InputError("this HostVectorEnv has been closed; make a new one.")

    def _live(self) -> Tensor:
        """The seed."""
        self._open()
        if self._seed is None:
            raise ResetNeeded("call reset() before anything else.")
        return self._seed

    def require_reset(self) -> None:
        self._live()

    @property
    def seed(self) -> Tensor:
        """As `seeded`, an int64 scalar on the device; not to be written to."""
        return self._live()

    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next."""
        self._live()
        with apart():
            return self.seen.to(self.device, non_blocking=True, copy=True)

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""
        self._live()
        return self.sent(self._book.elapsed == 0.0, torch.bool)

    def check_actions(self, actions: Any) -> Tensor:
        """Actions as `advance` takes them, see `step`."""
        self._live()
        return checks.actions(actions, self.single_action_space, self.num_envs, self.device, self.validate)

    def random_actions(self, block: int, count: int) -> Tensor:
        """Some blocks of the stream of random actions, see `gpusim.engine.random_actions`."""
        with apart():
            blocks = torch.arange(block, block + count, device=self.device)
            return engine.random_actions(self.single_action_space, self._live(), self.index, blocks)

    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """As `step`, of actions that were checked; see `gpusim.rollout.Steppable`."""
        self._live()
        out, _ = self._advance(actions)
        return out, count(tally, out) if tally else None

    def advance_several(self, actions: list[Tensor], tally: Tally) -> Tally:
        """Some steps, of which nothing is wanted but the tally."""
        for action in actions:
            self._live()
            tally = count(tally, self._advance(action)[0])
        return tally


class HostSteps(Steps):
    """Makes the steps of a rollout; each is written down while the engine makes the next."""

    env: HostVectorEnv

    def __init__(self, env: HostVectorEnv, num_steps: int):
        super().__init__(env)
        self.taken = 0
        self.late: HostStep | None = None  # the last step, not written down yet
        self.actions: list[Tensor] = []
        self.extras: list[dict[str, Tensor]] = []
        self.finals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # steps, environments, observations
        with torch.inference_mode(False):
            pinned = env.device.type == "cuda"
            self.rows = torch.empty((len(ROW), num_steps, env.num_envs), dtype=torch.float32, pin_memory=pinned)
            self.obs = torch.empty((num_steps + 1, *env.seen.shape), dtype=env.seen.dtype, device=env.device)

    def begun(self) -> Tensor:
        if self.late is None:
            return self.env.begun()
        with apart():
            return self.env.sent(self.late.terminated | self.late.truncated, torch.bool)

    def take(self, obs: Tensor, action: Tensor, extras: dict[str, Tensor]) -> Tensor:
        self.actions.append(action)
        self.extras.append(extras)
        with apart():
            if not self.taken:
                self.obs[0] = obs
            self.late = self.env.exchange(action, self.close)
            self.taken += 1
            return self.obs[self.taken].copy_(self.env.seen, non_blocking=True)

    def close(self) -> None:
        """Writes the last step down."""
        if self.late is None:
            return
        got, t, self.late = self.late, self.taken - 1, None
        ended = self.env.write_down(got, self.rows.numpy()[:, t])
        if got.final_obs is not None:
            self.finals.append((np.full_like(ended, t), ended, got.final_obs))

    def stacked(self) -> dict[str, Tensor]:
        self.close()
        reward, terminated, truncated, returns, length, lost = self.rows.to(self.env.device, non_blocking=True)
        next_obs = self.obs[1:].clone()
        if self.finals:
            dtypes = torch.int64, torch.int64, next_obs.dtype
            each = (np.concatenate(arrays) for arrays in zip(*self.finals, strict=True))
            t, ended, final = map(self.env.sent, each, dtypes)
            next_obs[t, ended] = final
        return {
            "obs": self.obs[:-1],
            "action": torch.stack(self.actions),
            "reward": reward,
            "terminated": terminated != 0,
            "truncated": truncated != 0,
            "next_obs": next_obs,
            "episode_return": returns,
            "episode_length": length,
            **{name: torch.stack([each[name] for each in self.extras]) for name in self.extras[0]},
            **({"life_lost": lost != 0} if self.env.counts_lives else {}),
        }
