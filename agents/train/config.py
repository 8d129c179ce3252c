"""What every learner's configuration has in common, and how it is checked and kept."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

import torch
from gymnasium.vector import AutoresetMode

from gpusim import checks, source
from gpusim.agents.parts.gated import CELLS
from gpusim.agents.parts.images import BOARD_FROM
from gpusim.agents.parts.world import World
from gpusim.agents.train import budget
from gpusim.agents.train.budget import Part
from gpusim.agents.train.environments import Environments, Makeable, Task, describe, name_of
from gpusim.agents.train.ranges import Count, Natural, Number, OneOf, Positive, Range, check_fields, hints, normalized
from gpusim.errors import InputError
from gpusim.kernels.distributions import LOG_STD_RANGE
from gpusim.kernels.mlp import PRECISIONS

Activation = Annotated[str, OneOf(("tanh", "relu"))]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings that are not the algorithm's own. The type of each says what it may be."""

    env: str = "CartPole-v1"
    """Id of the environment; one's own after the module or file that registers it: mine:Mine-v0, path/to/mine.py:Mine-v0."""
    seed: Natural = 0
    """Seed of everything random: weights, environments, actions, minibatches."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    backend: str = "auto"
    """How environments step: eager, native (C++, on a CPU), compile (on a GPU), triton (fused kernels, which then learn
    too), or auto: native on a CPU, on a GPU triton where the environment can be lowered, else compile. Those of Gymnasium:
    sync (one after the other), async (a process for each), for Atari ale (its own threads), envpool, or auto: ale for Atari,
    else sync where steps are cheap."""
    threads: Annotated[int, Range(0, 1024)] = 1
    """CPU threads of torch; small networks are fastest on one. 0 leaves torch's own choice."""
    num_envs: Count = 32
    """Environments that step together."""
    total_steps: Count = 100_000
    """Environment steps in all; rounded up to whole iterations."""
    target_return: Number | None = None
    """Stop as soon as the mean return of the last 100 episodes (of the last `num_envs`, if those are more, as they begin
    together) reaches this; None trains to the end."""
    run_dir: str | None = None
    """Folder to write; None names one after the algorithm, environment, seed and time on the command line, and writes none
    from Python."""
    log_every: Count = 1
    """Iterations between two readings of the metrics."""
    checkpoint_every: Count = 50
    """Iterations between two checkpoints."""
    network: Annotated[str, OneOf(("auto", "mlp", "cnn", *CELLS))] = "auto"
    """mlp, cnn (before the hidden layers one convolution of 3 × 3, or the three of Nature's DQN for images of 36 × 36 and
    more) or auto: cnn for images. gru, lstm and mingru are as auto, and remember what they have seen of an episode by a
    cell after the hidden layers, under learners that can hold one."""
    hidden: tuple[Count, ...] = (64, 64)
    """Widths of the hidden layers of actor and critic."""
    activation: Activation = "tanh"
    """tanh or relu."""
    precision: Annotated[str, OneOf((*PRECISIONS, "fp16"))] = "tf32x3"
    """How layers multiply. Fused kernels: tf32x3 (close to float32), tf32 or bf16, on tensor cores. Torch operations: bf16
    or fp16, all but the last layers (images in bf16 take a CPU with AMX 0.4 of the time), else float32 as torch has it set;
    with fp16 losses are scaled. Weights, statistics and the optimizer's state are float32."""
    normalize_obs: bool = False
    """Pass observations through running mean and variance."""
    initial_log_std: Annotated[float, Range(*LOG_STD_RANGE)] = 0.0
    """Of a Gaussian policy at the start, in units of half the action's range."""
    max_grad_norm: Positive = 0.5
    """Global norm to which gradients are clipped."""
    clip_reward: bool = False
    """Learn from the sign of each reward; returns are reported as they are."""
    episodic_life: bool = False
    """Learn as if a lost life ended the episode, in games that count lives; the game goes on, and is reported whole."""

    remembers = False  # whether the learner can hold a network that does

    def __post_init__(self) -> None:
        for name, hint in hints(self).items():
            object.__setattr__(self, name, normalized(getattr(self, name), hint))

    @property
    def iterations(self) -> int:
        return -(-self.total_steps // self.steps_per_iteration)

    @property
    def steps_per_iteration(self) -> int:
        raise NotImplementedError

    def check(self, task: Task | None = None) -> None:
        """Raises InputError where a value cannot be used.

        Args:
            task: what environments that were handed in show; None: `env` has it.
        """
        check_fields(self, but=("env",))  # an id or a task, as `describe` says below
        if self.network in CELLS and not self.remembers:
            name = type(self).__module__.rsplit(".", 1)[-1]
            raise InputError(
                f"{name} cannot hold a network that remembers, as {self.network} does: leave network as it is, or use ppo."
            )
        shape = (task or describe(self.env)).observation_space.shape
        if self.network == "cnn" and len(shape) != 3:
            raise InputError(f"network cnn is for images, and {self.env} shows {shape[0]} numbers: use mlp.")
        if self.network == "cnn" and min(shape[:2]) < BOARD_FROM:
            raise InputError(
                f"network cnn is for images of 3 × 3 and more, and those of {self.env} are {shape}: use mlp."
            )
        if self.normalize_obs and len(shape) != 1:
            shows = "shows images" if len(shape) == 3 else f"shows {shape}"
            raise InputError(f"normalize_obs is for observations of numbers, and {self.env} {shows}: leave it off.")

    def check_memory(self, task: Task | None = None, device: torch.device | None = None) -> None:
        """Raises InputError where what a run takes cannot fit, see `takes`.

        Args:
            task, device: of environments that were handed in.
        """
        budget.require(self, task or describe(self.env), device or checks.device(self.device))

    def together(self, world: World, env: object = None) -> Self:
        """These settings as a run of several ranks has them.

        Args:
            env: environments that are handed in.

        Raises:
            InputError: it cannot have these.
        """
        if env is not None and not isinstance(env, Makeable):
            raise InputError(
                "a run on several ranks makes the environments of each itself: hand in none, or the task that they are of."
            )
        check_divides(world, "num_envs", self.num_envs)
        return self

    def share(self, world: World) -> Self:
        """What one rank has of it, as far as memory goes."""
        return self if world.alone else dataclasses.replace(self, num_envs=self.num_envs // world.size)

    def takes(self, task: Task) -> list[Part]:
        """What a run takes of the device's memory."""
        return [budget.rollout(self, task, 0), budget.network(self, task)]

    def check_handed(self, env: Environments) -> None:
        """Raises InputError where environments that were handed in are other ones than these settings say."""
        id, meant, base = env.unwrapped.task.id, name_of(self.env), env.unwrapped
        if source.name(meant).removeprefix("gpusim/") != id:
            raise InputError(
                f"the configuration is for {meant}, and the environments are {id}: say Config(env={id!r}), whose preset is "
                "then taken."
            )
        if self.num_envs != env.num_envs:
            raise InputError(
                f"the configuration says {self.num_envs} environments, and those handed in are {env.num_envs}: say "
                f"Config(num_envs={env.num_envs})."
            )
        if self.device != "auto" and checks.device(self.device) != env.device:
            raise InputError(
                f"the configuration says device {self.device!r}, and the environments are on {env.device}."
            )
        if self.backend not in ("auto", base.backend):
            raise InputError(
                f"the configuration says backend {self.backend!r}, and the environments step by {base.backend!r}."
            )
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise InputError(
                "learners take environments that reset within the step: make them with autoreset_mode='same_step', not "
                f"{env.autoreset_mode.name.lower()!r}."
            )


def check_divides(world: World, name: str, value: int) -> None:
    """Raises InputError where a number of things cannot be shared evenly."""
    if value % world.size:
        raise InputError(
            f"{name} must be a multiple of {world.size}, the number of ranks, each of which has an equal share, not {value}."
        )


C = TypeVar("C")


def build(cls: type[C], values: dict[str, Any], where: str) -> C:
    """`cls(**values)`; `where` names their source in the sentence about an unknown field.

    Raises:
        InputError: `cls` has no such field.
    """
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise InputError(f"{where} has the field {unknown[0]!r}, which {cls.__module__.split('.')[-1]} does not know.")
    return cls(**values)
