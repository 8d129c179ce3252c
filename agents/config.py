"""What every learner's configuration has in common, and how it is checked and kept."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from gpusim.agents.environments import Task, describe
from gpusim.agents.networks import BOARD_FROM, ActorCritic
from gpusim.errors import InputError
from gpusim.kernels.mlp import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings that are not the algorithm's own."""

    env: str = "CartPole-v1"
    """Id of the environment; one's own after the module or file that registers it: mine:Mine-v0, path/to/mine.py:Mine-v0."""
    seed: int = 0
    """Seed of everything random: weights, environments, actions, minibatches."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    backend: str = "auto"
    """How environments step: eager, compile, triton (fused kernels, which then learn too), or auto: eager on the CPU, on a
    GPU triton where the environment can be lowered, else compile. Those of Gymnasium: sync (one after the other), async (a
    process for each), for Atari ale (its own threads), envpool, or auto: ale for Atari, else sync where steps are cheap."""
    threads: int = 1
    """CPU threads of torch; small networks are fastest on one. 0 leaves torch's own choice."""
    num_envs: int = 32
    """Environments that step together."""
    total_steps: int = 100_000
    """Environment steps in all; rounded up to whole iterations."""
    target_return: float | None = None
    """Stop as soon as the mean return of the last 100 episodes (of the last `num_envs`, if those are more, as they begin
    together) reaches this; None trains to the end."""
    run_dir: str | None = None
    """Folder to write; None names one after the algorithm, environment, seed and time."""
    log_every: int = 1
    """Iterations between two readings of the metrics."""
    checkpoint_every: int = 50
    """Iterations between two checkpoints."""
    network: str = "auto"
    """mlp, cnn (before the hidden layers one convolution of 3 × 3, or the three of Nature's DQN for images of 36 × 36 and
    more) or auto: cnn for images."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of actor and critic."""
    activation: str = "tanh"
    """tanh or relu."""
    precision: str = "tf32x3"
    """How fused kernels multiply on tensor cores: tf32x3 (close to float32), tf32 or bf16. Layers of images multiply in
    bf16 if it says so (which takes a CPU with AMX 0.4 of the time), else in float32 as torch has it set."""
    normalize_obs: bool = False
    """Pass observations through running mean and variance."""
    initial_log_std: float = 0.0
    """Of a Gaussian policy at the start, in units of half the action's range."""
    max_grad_norm: float = 0.5
    """Global norm to which gradients are clipped."""
    clip_reward: bool = False
    """Learn from the sign of each reward; returns are reported as they are."""
    episodic_life: bool = False
    """Learn as if a lost life ended the episode, in games that count lives; the game goes on, and is reported whole."""

    @property
    def iterations(self) -> int:
        return -(-self.total_steps // self.steps_per_iteration)

    @property
    def steps_per_iteration(self) -> int:
        raise NotImplementedError

    def check(self) -> None:
        """Raises InputError where a value cannot be used."""
        for name in ("num_envs", "total_steps", "log_every", "checkpoint_every"):
            at_least(self, name, 1)
        at_least(self, "threads", 0)
        at_least(self, "seed", 0)
        positive(self, "max_grad_norm")
        if self.activation not in ("tanh", "relu"):
            raise InputError(f"activation must be tanh or relu, not {self.activation!r}.")
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"hidden must be positive widths, not {self.hidden!r}.")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.network not in ("auto", "mlp", "cnn"):
            raise InputError(f"network must be auto, mlp or cnn, not {self.network!r}.")
        shape = describe(self.env).observation_space.shape
        if self.network == "cnn" and len(shape) != 3:
            raise InputError(f"network cnn is for images, and {self.env} shows {shape[0]} numbers: use mlp.")
        if self.network == "cnn" and min(shape[:2]) < BOARD_FROM:
            raise InputError(
                f"network cnn is for images of 3 × 3 and more, and those of {self.env} are {shape}: use mlp."
            )
        if self.normalize_obs and len(shape) != 1:
            raise InputError(
                f"normalize_obs is for observations of numbers, and {self.env} shows images: leave it off."
            )

    def make_network(self, env: Task, generator: torch.Generator) -> ActorCritic:
        """The network to train, its weights drawn by `generator`, on the CPU."""
        return ActorCritic(
            env.observation_space, env.action_space, self.hidden, self.activation, self.normalize_obs,
            self.initial_log_std, generator, self.network, precision=self.precision,
        )  # fmt: skip


def at_least(config: Any, name: str, least: float) -> None:
    if not getattr(config, name) >= least:
        raise InputError(f"{name} must be at least {least}, not {getattr(config, name)!r}.")


def positive(config: Any, name: str) -> None:
    if not getattr(config, name) > 0:
        raise InputError(f"{name} must be positive, not {getattr(config, name)!r}.")


def between(config: Any, name: str, low: float, high: float) -> None:
    if not low <= getattr(config, name) <= high:
        raise InputError(f"{name} must lie between {low} and {high}, not {getattr(config, name)!r}.")


C = TypeVar("C")


def build(cls: type[C], values: dict[str, Any], where: str) -> C:
    """`cls(**values)`, lists made tuples; `where` names their source in the sentence about an unknown field.

    Raises:
        InputError: `cls` has no such field.
    """
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise InputError(f"{where} has the field {unknown[0]!r}, which {cls.__module__.split('.')[-1]} does not know.")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
