"""A trained policy, loaded from its run, and played: here, or in Gymnasium's own environment."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import gpusim
from gpusim.agents.parts.networks import PolicyNetwork
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
from gpusim.agents.train.run import RunFolder
from gpusim.checks import later_seed
from gpusim.errors import InputError, NotFinite
from gpusim.host import HostEnv
from gpusim.kernels.finite import all_finite
from gpusim.precision import float32

Acting = Callable[[Any], Any]  # from observations `[N, *obs]` to actions, tensors or arrays
LONGEST = 100_000  # steps of an episode without a time limit
ON_HOST = 8  # environments that play on the host


class Policy:
    """Callable from observations `[N, *obs]` to actions `[N]` int64 or `[N, d]` float32, tensors or arrays as given."""

    def __init__(self, network: PolicyNetwork, env: Task, deterministic: bool, seed: int = 0, threads: int = 0):
        self.network, self.env, self.threads = network, env, threads
        self.device = next(network.parameters()).device
        self.dtype = torch.from_numpy(np.empty(0, env.observation_space.dtype)).dtype
        self.generator = None if deterministic else torch.Generator(self.device).manual_seed(seed)

    @float32
    def __call__(self, obs: Any) -> Any:
        tensor = gpusim.checks.as_tensor("observations", obs, self.device).to(self.dtype)
        shape = self.env.observation_space.shape
        if tensor.ndim != 1 + len(shape) or tensor.shape[1:] != shape:
            raise InputError(
                f"observations must have shape (N, {str(shape)[1:-1].rstrip(',')}), not {tuple(tensor.shape)}."
            )
        action = self.network.act(tensor, self.generator)
        return action if isinstance(obs, Tensor) else action.cpu().numpy()


@float32
def load_policy(
    run: str | Path,
    deterministic: bool = False,
    device: str = "auto",
    trust: bool = False,
    tell: Callable[[str], Any] = warnings.warn,
    env: Given | None = None,
) -> Policy:
    """The policy of a run's newest checkpoint; `deterministic` takes the mode of its distribution.

    Args:
        trust: whether to import the module or file that the run's environment comes from, where it is one's own and not
            imported yet.
        tell: told where that file has changed since, or is gone.
        env: environments (or a task) as the run was handed, whose spaces the policy knows, with other tables if need be;
            None: those it names.

    Raises:
        InputError: the folder does not exist, is incomplete or damaged, is of another version, names code and `trust` is
            not given, or was handed its environments and `env` is not given; or the tables of those it names have changed.
        NotFinite: its weights are NaN or infinite.
    """
    folder, where = RunFolder.open(run), gpusim.checks.device(device)
    deterministic, trust = (gpusim.checks.flag(*x) for x in (("deterministic", deterministic), ("trust", trust)))
    folder.require(env, "load_policy")
    if env is None:
        folder.find_code(trust, ("env",), tell)
    shown = None if env is None else task(env)
    known = folder.made(lambda: shown or describe(folder.config.env), shown)
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
    return Policy(network, known, deterministic, folder.config.seed, folder.config.threads)


def closing(learner: Learner) -> dict[str, Any]:
    """What the result of a run says of its policy: `mean` and `std` of the returns of its mode over so many `episodes`."""
    env, episodes = learner.env, 4 * ON_HOST if on_host(learner.env) else 100
    seed = later_seed(learner.config.seed, 10_000)

    def policy(obs: Tensor) -> Tensor:
        return learner.network.act(obs, None)

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
    obs, _ = venv.reset(seed=seed)
    for step in range(venv.max_episode_steps or LONGEST):
        _check(obs, "observation", seed, step)
        obs, reward, terminated, truncated, infos = venv.step(policy(obs))
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
    obs, _ = venv.reset(seed=seed)
    for _ in range(max(share) * (venv.unwrapped.max_episode_steps or LONGEST)):
        _check(obs, "observation", seed)
        obs, reward, _, _, infos = venv.step(policy(obs))
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
    """The same in Gymnasium's own environment of that id, or of that name without its family, on the CPU.

    Raises:
        InputError: Gymnasium has no such environment.
    """
    if on_host(describe(env_id)):
        raise InputError(f"{env_id} is Gymnasium's own already: leave --oracle out.")
    name = env_id.removeprefix("gpusim/")
    name = name if name in gymnasium.registry else name.rpartition("/")[2]
    try:
        venv = gymnasium.make_vec(name, num_envs=episodes, vectorization_mode="sync")
    except gymnasium.error.Error as error:
        raise InputError(f"Gymnasium has no environment of its own called {env_id}: {error}") from None
    obs, _ = venv.reset(seed=seed)
    returns, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        _check(torch.as_tensor(obs), "observation", seed)
        obs, reward, terminated, truncated, _ = venv.step(policy(obs))
        _check(torch.as_tensor(reward), "reward", seed)
        returns += reward * playing
        playing &= ~(terminated | truncated)
    venv.close()
    scores = torch.from_numpy(returns).float()
    _check(scores, "return", seed)
    return scores
