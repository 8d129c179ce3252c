"""How learners of action values explore: at random, by ε, for a step or for longer, and by a rule that the user wrote."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from gpusim import source
from gpusim.agents.parts.gated import CELLS
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.parts.noisy import Noise
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.environments import Environments, Given, Task, describe
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.ranges import Share
from gpusim.checks import later_seed
from gpusim.errors import InputError
from gpusim.kernels.distributions import EpsilonGreedy
from gpusim.rollout import Rollout


@dataclass(frozen=True, kw_only=True)
class ExplorationConfig(RunConfig):
    """Settings of exploration. (`initial_log_std` is for continuous actions, which these learners have not.)"""

    epsilon_start: Share = 1.0
    """Share of random actions at the start."""
    epsilon_end: Share = 0.05
    """Share of random actions from the end of exploration on."""
    exploration: Share = 0.2
    """Share of `total_steps` over which epsilon falls linearly from start to end."""
    repeat: Share = 0.0
    """Probability that a random action is taken once more (temporally extended ε-greedy, after Dabney et al., 2021, of
    geometric durations); epsilon is then the share of the other steps at which one begins."""
    noisy: bool = False
    """Give linear layers noise of a learned size to explore by, anew at every step and update (Fortunato et al., 2018);
    `epsilon_start` and `epsilon_end` can be 0 then. A policy that is evaluated has none."""
    script: str | None = None
    """A rule to explore by, `package.module:function` or `path/to/file.py:function`, from observations `[N, *obs]` to
    actions `[N]`; on a GPU of torch operations that look at no value on the host."""
    script_start: Share = 0.5
    """Share of the environments that follow the rule at the start; which ones is drawn for every iteration."""
    script_end: Share = 0.0
    """Share of them from `script_until` on."""
    script_until: Share = 0.5
    """Share of `total_steps` over which it changes linearly."""

    def check(self, task: Task | None = None) -> None:
        super().check(task)
        if not isinstance((task or describe(self.env)).action_space, Discrete):
            name = type(self).__module__.rsplit(".", 1)[-1]
            raise InputError(
                f"{name} chooses among discrete actions, and {self.env} has continuous ones: use sac or ppo."
            )
        if self.noisy and self.network in CELLS:
            raise InputError(
                f"noisy layers are for a network that remembers nothing, not {self.network}: leave one out."
            )

    @property
    def noise(self) -> Noise | None:
        """Of the network's layers."""
        return Noise(later_seed(self.seed, 2)) if self.noisy else None


class Explorer(Learner):
    """A learner whose network is a `QNetwork`. `explore` is due at the begin of every iteration."""

    config: ExplorationConfig
    network: QNetwork
    script: Callable[[Tensor], Tensor] | None = None
    repeat: "Repeat | None" = None

    def __init__(self, config: ExplorationConfig, env: Given | None = None):
        super().__init__(config, env)
        self.script = find(config.script) if config.script else None
        if self.script:
            check_script(config.script, self.script, self.env)
        self.repeat = Repeat(self.env.num_envs, config.repeat).to(self.env.device) if config.repeat else None
        self.script_share = torch.zeros((), device=self.env.device)
        self.scripted: Tensor | None = None  # [N] bool, who follows the rule

    def modules(self) -> dict[str, torch.nn.Module]:
        return super().modules() | ({"repeat": self.repeat} if self.repeat else {})

    def explore(self) -> None:
        """Lets the schedules go on; it is done outside of what a graph holds."""
        config, done = self.config, self.iteration / self.config.iterations
        self.network.epsilon.fill_(linear(config.epsilon_start, config.epsilon_end, config.exploration, done))
        self.script_share.fill_(linear(config.script_start, config.script_end, config.script_until, done))

    def collect(self, num_steps: int) -> Rollout:
        if self.script:
            self.scripted = self.uniform() < self.script_share
        return super().collect(num_steps)

    def uniform(self) -> Tensor:
        """`[N]` in [0, 1)."""
        return self.world.own(torch.rand(self.config.num_envs, device=self.env.device, generator=self.generator))

    @torch.no_grad()
    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with self.network.noised(len(obs)):
            return super()._policy(obs)

    def chosen(self, distribution: EpsilonGreedy, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        action, random = map(self.world.own, self.world.amid(distribution).explore(self.generator))
        if self.repeat:
            action = self.repeat(action, random, self.uniform())
        if self.script and self.scripted is not None:
            action = torch.where(self.scripted, self.script(obs).to(action.dtype), action)
        return action, {}


class Repeat(nn.Module):
    """Random actions that go on, each for a number of steps of geometric distribution."""

    by_env = ("action", "random")

    def __init__(self, num_envs: int, chance: float):
        super().__init__()
        self.chance = chance
        self.action: Tensor
        self.random: Tensor
        self.register_buffer("action", torch.zeros(num_envs, dtype=torch.int64))  # the last one
        self.register_buffer("random", torch.zeros(num_envs, dtype=torch.bool))  # whether it was drawn at random

    @torch.no_grad()
    def forward(self, action: Tensor, random: Tensor, u: Tensor) -> Tensor:
        """`action` `[N]`, `random` where so marked, or the last one again, by `u` in [0, 1)."""
        again = self.random & (u < self.chance)
        self.action.copy_(torch.where(again, self.action, action))
        self.random.copy_(again | random)
        return self.action.clone()


def linear(start: float, end: float, until: float, done: float) -> float:
    """From `start` to `end`, which is reached where the share `until` of everything is `done`."""
    return start + (end - start) * (min(1.0, done / until) if until else 1.0)


def find(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `module:function` or `file.py:function`.

    Raises:
        InputError: there is none.
    """
    where, function = source.reference(name)
    if not where or not function:
        raise InputError(f"script must be module:function or file.py:function, not {name!r}.")
    found = getattr(source.load(where), function, None)
    if not callable(found):
        raise InputError(f"the script {where} has no function {function}.")
    return found


def check_script(name: str | None, script: Callable[[Tensor], object], env: Environments) -> None:
    """Raises InputError where the rule's answer to the present observations is no action for each environment."""
    assert isinstance(env.single_action_space, Discrete)  # as the learner has checked
    obs, choices = env.observe(), int(env.single_action_space.n)
    try:
        answer = script(obs.clone())
    except Exception as error:
        raise InputError(f"the script {name} fails on observations {list(obs.shape)}: {error}.") from None
    if not isinstance(answer, Tensor) or answer.shape != (env.num_envs,):
        shape = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(f"the script {name} must return a tensor [{env.num_envs}] of actions, not {shape}.")
    if answer.device != obs.device or answer.is_floating_point():
        raise InputError(
            f"the script {name} must return whole numbers on {obs.device}, not {answer.dtype} on {answer.device}."
        )
    if bool(((answer < 0) | (answer >= choices)).any()):
        raise InputError(f"the script {name} must return actions from 0 to {choices - 1}.")
