"""A trained policy, loaded from its run, and played: here, or in Gymnasium's own environment."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gpusim
from gpusim.agents.parts.networks import PolicyNetwork
from gpusim.agents.parts.recurrent import MemoryPolicy, Recurrent
from gpusim.agents.train.discovery import learner_class
from gpusim.agents.train.environments import (
    Environments,
    Given,
    Task,
    describe,
    make,
    on_host,
    restore,
    saved_state,
    task,
)
from gpusim.agents.train.learner import Learner
from gpusim.agents.train.originals import original
from gpusim.agents.train.run import RunFolder
from gpusim.checks import later_seed
from gpusim.errors import InputError, NotFinite
from gpusim.host import HostEnv
from gpusim.kernels.finite import all_finite
from gpusim.policy import StatefulPolicy
from gpusim.precision import float32

Acting = Callable[[Any], Any] | StatefulPolicy  # from observations `[N, *obs]` to actions, tensors or arrays
LONGEST = 100_000  # steps of an episode without a time limit
ON_HOST = 8  # environments that play on the host


class Trained:
    """What is known of a policy that was trained."""

    def __init__(self, network: PolicyNetwork, env: Task, deterministic: bool, seed: int = 0, threads: int = 0):
        self.network, self.env, self.threads = network, env, threads
        self.device = next(network.parameters()).device
        self.dtype = torch.from_numpy(np.empty(0, env.observation_space.dtype)).dtype
        self.generator = None if deterministic else torch.Generator(self.device).manual_seed(seed)
        self.played: Any = played(network, self.generator)

    def seen(self, obs: Any) -> Tensor:
        """Observations as the network takes them; raises InputError where they are none."""
        tensor = gpusim.checks.as_tensor("observations", obs, self.device).to(self.dtype)
        shape = self.env.observation_space.shape
        if tensor.ndim != 1 + len(shape) or tensor.shape[1:] != shape:
            raise InputError(
                f"observations must have shape (N, {str(shape)[1:-1].rstrip(',')}), not {tuple(tensor.shape)}."
            )
        return tensor


class Policy(Trained):
    """Callable from observations `[N, *obs]` to actions `[N]` int64 or `[N, d]` float32, tensors or arrays as given."""

    @float32
    def __call__(self, obs: Any) -> Any:
        action = self.played(self.seen(obs))
        return action if isinstance(obs, Tensor) else action.cpu().numpy()


class RememberingPolicy(Trained):
    """A `gpusim.policy.StatefulPolicy`, which `rollout` of environments takes; observations and actions are tensors or
    arrays, as given, `begun` `[N]` either."""

    def initial_state(self, num_envs: int, device: torch.device) -> Any:
        """Of environments of which nothing has been seen."""
        return self.played.initial_state(num_envs, device)

    @float32
    def act(self, obs: Any, state: Any, begun: Any) -> tuple[Any, dict[str, Tensor], Any]:
        """Actions, nothing beside them, and the state after `obs`."""
        first = gpusim.checks.as_tensor("begun", begun, self.device)
        action, _, state = self.played.act(self.seen(obs), state, first)
        return action if isinstance(obs, Tensor) else action.cpu().numpy(), {}, state

    def __call__(self, obs: Any) -> Any:
        """Raises InputError: what it does depends on the observations before."""
        raise InputError(
            "the policy remembers, so an observation alone does not tell what it does: give it to rollout, or call "
            "policy.act(obs, state, begun), beginning with policy.initial_state(num_envs, device)."
        )


Loaded = Policy | RememberingPolicy
"""What `load_policy` gives."""


def played(network: Any, generator: torch.Generator | None = None) -> Acting:
    """A network as it is played: by the mode of its distribution, or by what `generator` draws from it."""
    if not isinstance(network, Recurrent):
        return lambda obs: network.act(obs, generator)

    def choose(distribution: Any, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        action = distribution.mode() if generator is None else distribution.sample(generator)
        return network.env_action(action), {}

    return MemoryPolicy(network, choose)


class InPlay:
    """A policy at play in N environments, with what one that remembers has seen of them."""

    def __init__(self, policy: Acting):
        self.policy, self.state = policy, None

    def __call__(self, obs: Any, begun: Tensor | None = None) -> Any:
        """Actions for `obs` `[N, *obs]`; `begun` `[N]` bool, where it is the first of an episode: None says everywhere, and
        after the first call nowhere."""
        if not isinstance(self.policy, StatefulPolicy):
            return self.policy(obs)
        if begun is None:
            device = getattr(self.policy, "device", obs.device if isinstance(obs, Tensor) else torch.device("cpu"))
            begun = torch.full((len(obs),), self.state is None, device=device)
        if self.state is None:
            self.state = self.policy.initial_state(len(obs), begun.device)
        action, _, self.state = self.policy.act(obs, self.state, begun)
        return action


@float32
def load_policy(
    run: str | Path,
    deterministic: bool = False,
    device: str = "auto",
    trust: bool = False,
    tell: Callable[[str], Any] = warnings.warn,
    env: Given | None = None,
    precision: str | None = None,
) -> Loaded:
    """The policy of a run's newest checkpoint; `deterministic` takes the mode of its distribution.

    Args:
        trust: whether to import the module or file that the run's environment comes from, where it is one's own and not
            imported yet.
        tell: told where that file has changed since, or is gone.
        env: environments (or a task) as the run was handed, whose spaces the policy knows, with other tables if need be;
            None: those it names.
        precision: in which its layers multiply, as a configuration has it; None: as in training.

    Raises:
        InputError: the folder does not exist, is incomplete or damaged, is of another version, names code and `trust` is
            not given, or was handed its environments and `env` is not given; or the tables of those it names have changed.
        NotFinite: its weights are NaN or infinite.
    """
    changes = {} if precision is None else {"precision": precision}
    folder, where = RunFolder.open(run, **changes), gpusim.checks.device(device)
    deterministic, trust = (gpusim.checks.flag(*x) for x in (("deterministic", deterministic), ("trust", trust)))
    folder.require(env, "load_policy")
    if env is None:
        folder.find_code(trust, ("env",), tell)
    shown = None if env is None else task(env)
    known: Any = folder.made(lambda: shown or describe(folder.config.env), shown)
    if env is None:
        folder.require_tables(known)
    algorithm, draw = learner_class(folder.algorithm), torch.Generator().manual_seed(0)
    network = folder.made(lambda: algorithm.make_network(folder.config, known, draw).to(where), shown)
    checkpoint = folder.load(where)
    if checkpoint is None:
        raise InputError(f"{run} is incomplete: it has no checkpoint yet; `gpusim resume {run}` goes on with it.")
    try:
        network.load_state_dict(checkpoint.state["network"])
    except Exception:
        raise folder.misfit() from None
    if not all(bool(p.isfinite().all()) for p in network.parameters()):
        raise NotFinite(
            f"weights of the policy in {run} are not finite (nan or infinite): it has learned nothing.", "weights"
        )
    return policy_of(network, known, deterministic, folder.config.seed, folder.config.threads)


def policy_of(network: Any, env: Task, deterministic: bool = True, seed: int = 0, threads: int = 0) -> Loaded:
    """A network that was trained on such environments, for whoever plays it."""
    kind = RememberingPolicy if isinstance(network, Recurrent) else Policy
    return kind(network, env, deterministic, seed, threads)


def closing(learner: Learner) -> dict[str, Any]:
    """What the result of a run says of its policy: `mean` and `std` of the returns of its mode over so many `episodes`."""
    env, episodes = learner.env, 4 * ON_HOST if on_host(learner.env) else 100
    seed, policy = later_seed(learner.config.seed, 10_000), played(learner.network)
    if learner.given and not on_host(env):
        before = saved_state(env)
        scores = play(policy, env, episodes, seed)
        restore(env, before, seed)
    else:
        scores = evaluate(policy, env.unwrapped.task, episodes, seed, str(env.device))
    return {"mean": float(scores.mean()), "std": float(scores.std()), "episodes": episodes}


def _check(values: Tensor, quantity: str, seed: int, step: int | None = None) -> None:
    """Raises NotFinite where one of `values` `[N, ...]` is NaN or infinite, after `step` steps of every first episode."""
    if all_finite(values):
        return
    row = int(values.isfinite().reshape(len(values), -1).all(1).int().argmin())
    place = {"environment": row, "seed": seed} | ({} if step is None else {"episode": 0, "step": step})
    after = "" if step is None else f" after step {step} of its episode 0"
    raise NotFinite(
        f"the {quantity} of environment {row} is not finite (nan or infinite){after}, played from the reset with seed "
        f"{seed}: nothing can be said of the policy.",
        quantity,
        **place,
    )


@torch.no_grad()
def evaluate(policy: Acting, env: str | Task, episodes: int, seed: int, device: str = "auto") -> Tensor:
    """Returns of `episodes` whole episodes, one in each of as many environments, `[episodes]` float32.

    Raises:
        NotFinite: an observation, a reward, a return or (on a CPU) what the policy answers is NaN or infinite.
    """
    source = describe(env)
    if isinstance(source, HostEnv):
        return evaluate_on_host(policy, source, episodes, seed, device)
    venv = gpusim.make(source, episodes, device=device, autoreset_mode="disabled", validate=False)
    (obs, _), act = venv.reset(seed=seed), InPlay(policy)
    for step in range(venv.max_episode_steps or LONGEST):
        _check(obs, "observation", seed, step)
        obs, reward, terminated, truncated, infos = venv.step(act(obs))
        _check(reward, "reward", seed, step + 1)
        if (terminated | truncated).all():
            break
    _check(infos["episode"]["r"], "return", seed)
    return infos["episode"]["r"].cpu()


@torch.no_grad()
def evaluate_on_host(policy: Acting, env: HostEnv, episodes: int, seed: int, device: str = "auto") -> Tensor:
    """The same on the host: a few environments play several episodes each, as in `play`."""
    venv = make(env, min(episodes, ON_HOST), device)
    try:
        return play(policy, venv, episodes, seed)
    finally:
        venv.close()


@torch.no_grad()
def play(policy: Acting, venv: Environments, episodes: int, seed: int) -> Tensor:
    """The same in environments that were made already, several episodes in each, `[episodes]` or less.

    None plays longer than its episodes can last (`LONGEST` steps, where they have no limit): of one that does not end, the
    return so far counts, and episodes that it leaves no time for do not.
    """
    share = [episodes // venv.num_envs + (i < episodes % venv.num_envs) for i in range(venv.num_envs)]
    returns: list[list[float]] = [[] for _ in share]
    (obs, _), act, begun = venv.reset(seed=seed), InPlay(policy), None
    for _ in range(max(share) * (venv.unwrapped.max_episode_steps or LONGEST)):
        _check(obs, "observation", seed)
        obs, reward, terminated, truncated, infos = venv.step(act(obs, begun))
        begun = terminated | truncated
        _check(reward, "reward", seed)
        _check(infos["episode"]["r"], "return", seed)
        for i in infos["_episode"].nonzero().flatten().tolist():
            if len(returns[i]) < share[i]:
                returns[i].append(float(infos["episode"]["r"][i]))
        if all(len(played) == wanted for played, wanted in zip(returns, share, strict=True)):
            break
    for i, played in enumerate(returns):
        if not played and share[i]:
            played.append(float(infos["episode"]["r"][i]))
    return torch.tensor([r for played in returns for r in played], dtype=torch.float32)


def evaluate_oracle(policy: Acting, env_id: str, episodes: int, seed: int) -> Tensor:
    """The same in Gymnasium's own environment of that id, with its namespace or without, on the CPU.

    Raises:
        InputError: Gymnasium has no such environment, or its package is not installed.
    """
    if on_host(describe(env_id)):
        raise InputError(f"{env_id} is Gymnasium's own already: leave --oracle out.")
    venv = original(env_id, episodes)
    (obs, _), act = venv.reset(seed=seed), InPlay(policy)
    returns, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        _check(torch.as_tensor(obs), "observation", seed)
        obs, reward, terminated, truncated, _ = venv.step(act(obs))
        _check(torch.as_tensor(reward), "reward", seed)
        returns += reward * playing
        playing &= ~(terminated | truncated)
    venv.close()
    scores = torch.from_numpy(returns).float()
    _check(scores, "return", seed)
    return scores
