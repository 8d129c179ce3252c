"""What every learner is made of: environments, a network, its optimizer, a generator, and the episodes that ended last."""

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from gpusim import checks
from gpusim.agents.parts.episodes import EpisodeWindow, SharedWindow
from gpusim.agents.parts.finite import Watch
from gpusim.agents.parts.gated import CELLS, Remembering
from gpusim.agents.parts.networks import ActorCritic, PolicyNetwork
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.parts.recurrent import Memory, MemoryPolicy, Recurrent
from gpusim.agents.parts.world import here
from gpusim.agents.train import budget, environments, shares
from gpusim.agents.train.config import RunConfig
from gpusim.agents.train.environments import Environments, Given, Makeable, Task
from gpusim.errors import InputError, told
from gpusim.kernels.policy import MlpPolicy
from gpusim.precision import float32
from gpusim.rollout import Rollout


def check_kind(config: Any, learner: type) -> None:
    """Raises InputError where `config` is not of the class that the algorithm declares its own to be."""
    declared = (inspect.get_annotations(base).get("config") for base in learner.__mro__)
    wanted = next((kind for kind in declared if isinstance(kind, type)), RunConfig)
    if not isinstance(config, wanted):
        other = _path(type(config)) if isinstance(config, RunConfig) else told(config)
        raise InputError(f"{learner.__name__} is configured by a {_path(wanted)}, not by {other}.")


def remembered(config: Any) -> dict[str, Any]:
    """What `gpusim.agents.parts.gated.Remembering` is to be told beside what other networks are."""
    return {"cell": config.network, "units": config.memory_units, "shared": config.shared_memory}


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


F = TypeVar("F", bound=Callable)


def spent(method: F) -> F:
    """A learner's method, in which memory that runs out is told as what would have been refused."""

    @functools.wraps(method)
    def telling(learner: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(learner, *args, **kwargs)
        except (MemoryError, RuntimeError) as error:
            out = isinstance(error, MemoryError) or any(words in str(error) for words in budget.OUT)
            if not out or not hasattr(learner, "config"):
                raise
            sentence = budget.ran_out(learner.config, learner.task, checks.device(learner.config.device))
        raise InputError(sentence)  # outside of it, so that what was allocated is let go

    return telling  # type: ignore[return-value]


class Learner:
    """The base of the algorithms; each adds `iterate`. All of them compute in float32. Of several ranks, those of
    `gpusim.agents.parts.world.here`, each has its share of the environments, and otherwise the same.

    Args:
        config: the settings, of all ranks together.
        env: environments to learn from, which are reset by the configuration's seed: of `gpusim.make`, whatever their
            parameters, or wrapped; or a task, a `gpusim.Env`, to make them of. None: `config.env` names the task.

    Raises:
        InputError: a setting cannot be used, or the environments are others than the configuration says.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in {"__init__", "iterate"} & set(vars(cls)):
            setattr(cls, name, spent(float32(vars(cls)[name])))

    @float32
    def __init__(self, config: RunConfig, env: Given | None = None):
        check_kind(config, type(self))
        self.world = world = here()
        if world.launched:
            config = config.together(world, env)
        if isinstance(env, Makeable):
            task: Any = env  # a configuration that is written to no file may hold a task
            config, env = replace(config, env=task), None
        source = environments.describe(config.env) if env is None else env
        self.task = environments.task(source)
        config.check(self.task)
        if env is not None:
            config.check_handed(env)
        config.share(world).check_memory(self.task, None if env is None else env.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config, self.given = config, env is not None
        self.env: Environments = (
            environments.make(source, config.num_envs, world.device(config.device), config.backend, world)
            if isinstance(source, Makeable)
            else source
        )
        device = self.env.device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # its streams and events are the current ones from here on
            torch.backends.cudnn.deterministic = True  # convolutions, so that a resumed run ends like the unbroken one
        self.network = self.make_network(config, self.task, torch.Generator().manual_seed(config.seed)).to(device)
        self.optimizers = self.make_optimizers()
        for weights in self.weights():
            world.as_first_(weights)
        self.generator = torch.Generator(device).manual_seed(checks.later_seed(config.seed, 1))
        self.recurrent: Recurrent | None = self.network if isinstance(self.network, Recurrent) else None
        self.memory = Memory(self.recurrent.initial_state(self.env.num_envs, device)) if self.recurrent else None
        size = max(100, config.num_envs)
        self.window = (EpisodeWindow(size) if world.alone else SharedWindow(size, world)).to(device)
        self.iteration = 0
        self.env.reset(seed=config.seed)
        self.watch = Watch(self.env.unwrapped, self.weights)
        if config.episodic_life and not getattr(self.env, "counts_lives", False):
            if not self.given:
                self.env.close()
            raise InputError(f"episodic_life is for games that count lives, which {config.env} does not: leave it off.")

    @staticmethod
    def make_network(config: Any, task: Task, generator: torch.Generator) -> PolicyNetwork:
        """The network to train, its weights drawn by `generator`, on the CPU."""
        settings = (
            task.observation_space, task.action_space, config.hidden, config.activation, config.normalize_obs,
            config.initial_log_std, generator,
        )  # fmt: skip
        if config.network in CELLS:
            return Remembering(*settings, **remembered(config), precision=config.precision)
        return ActorCritic(*settings, config.network, precision=config.precision)

    def make_optimizers(self) -> dict[str, Adam]:
        """What trains the network, by the names that checkpoints know; a parameter has one of them, or none."""
        return {"optimizer": self.adam(self.network.trained())}

    def adam(self, parameters: Iterable[torch.nn.Parameter]) -> Adam:
        """An optimizer by the configuration's norm and precision."""
        config = self.config
        return Adam(parameters, max_grad_norm=config.max_grad_norm, scaled=config.precision == "fp16")

    @property
    def optimizer(self) -> Adam:
        """The one of that name, where there is but one network."""
        return self.optimizers["optimizer"]

    learning = True
    """Whether updates have been made, so that losses are numbers."""

    @property
    def handed(self) -> str | None:
        """What of its environments no id names, in words; None where `config.env` is all that there is to know."""
        if self.given:
            return environments.handed(self.env)
        return environments.handed(self.config.env) if isinstance(self.config.env, Makeable) else None

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.iteration * self.config.steps_per_iteration

    def learning_rate(self) -> float:
        """Of the next iteration."""
        return self.config.learning_rate  # type: ignore[attr-defined]

    @property
    def path(self) -> str:
        """What an iteration is made of."""
        return "torch operations"

    def iterate(self) -> dict[str, Tensor]:
        """One iteration: collect, learn; the metrics as scalars on the device."""
        raise NotImplementedError

    def collect(self, num_steps: int) -> Rollout:
        """`num_steps` of every environment by the present policy; `extras["sample"]` is what the policy drew.

        Raises:
            NotFinite: on a CPU, a reward or an observation is NaN or infinite.
        """
        rollout = self._rollout(num_steps)
        self.watch.look(rollout, self.iteration + 1)
        self.window.add(rollout.episode_return, rollout.episode_length, rollout.terminated | rollout.truncated)
        return self._as_learned(rollout)

    def _rollout(self, num_steps: int) -> Rollout:
        if self.recurrent and self.memory:
            policy = MemoryPolicy(self.recurrent, self.chosen)
            rollout = self.env.rollout(num_steps, policy, policy_state=self.memory.state)
            self.memory.keep(rollout.last_policy_state)
            return rollout
        try:
            return self.env.rollout(num_steps, self._within() or self._policy)
        except InputError:  # actions out of bounds; such as are no numbers are the policy's, and no input
            with suppress(InputError):  # of environments that ended with the first
                self.network.check_output(self.env.observe())
            raise

    def _within(self) -> MlpPolicy | None:
        """The policy as those environments take it that step on a CPU with the policy in the same loop."""
        if self.env.unwrapped is not self.env or self.env.backend != "native":
            return None
        return self.network.as_held(self.held())

    def held(self) -> Tensor:
        """The network's parameters in one vector."""
        return self.optimizer.flat

    def _as_learned(self, rollout: Rollout) -> Rollout:
        """A rollout as it is learned from, where that is not how it is reported."""
        if self.config.clip_reward:
            rollout = rollout._replace(reward=rollout.reward.sign())
        if self.config.episodic_life:
            rollout = rollout._replace(terminated=rollout.terminated | rollout.extras["life_lost"])
        return rollout

    @torch.no_grad()
    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.chosen(self.network.distribution(obs), obs)

    def chosen(self, distribution: Any, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Actions for `obs` `[N, *obs]` by the policy's distribution, and what to keep beside them."""
        sample = self.world.own(self.world.amid(distribution).sample(self.generator))
        return self.network.env_action(sample), {"sample": sample}

    def weights(self) -> list[Tensor]:
        """All that is learned, in one-dimensional tensors."""
        return [optimizer.flat for optimizer in self.optimizers.values()]

    def require_finite(self) -> None:
        """Raises NotFinite where a reward, an observation or a weight was found NaN or infinite; waits for the device."""
        self.watch.check(self.watch.report().tolist(), self.iteration)

    def modules(self) -> dict[str, torch.nn.Module]:
        """What holds the tensors that a checkpoint keeps."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"network": self.network, **self.optimizers, "window": self.window, **memory}

    def state(self) -> dict[str, Any]:
        """All that the next iteration depends on, as tensors and primitives; of several ranks all must ask, and the first is
        given what a learner of all environments would give."""
        state = {
            "iteration": self.iteration,
            "env": environments.saved_state(self.env),
            "generator": self.generator.get_state(),
            **{name: module.state_dict() for name, module in self.modules().items()},
        }
        return shares.whole(self.world, state, self.modules(), self.config.num_envs)

    def load(self, state: dict[str, Any]) -> None:
        """Takes up where the learner, or the ranks, stood that gave `state`."""
        state = shares.own(self.world, state, self.modules(), self.config.num_envs)
        self.iteration = state["iteration"]
        environments.restore(self.env, state["env"], checks.later_seed(self.config.seed, 1000 * self.iteration))
        self.generator.set_state(state["generator"].cpu())
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        if state["env"] is None:
            self.cut()

    def cut(self) -> None:
        """The episodes broke off where they were, and others have begun: nothing may add up over both."""
