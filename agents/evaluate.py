"""A trained policy, loaded from its run, and played: here, or in Gymnasium's own environment."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import gpusim
from gpusim.agents.networks import ActorCritic
from gpusim.agents.run import RunFolder
from gpusim.errors import InputError

LONGEST = 100_000  # steps of an episode without a time limit


class Policy:
    """Callable from observations `[N, *obs]` to actions `[N]` int64 or `[N, d]` float32, tensors or arrays as given."""

    def __init__(self, network: ActorCritic, env: gpusim.Env, deterministic: bool, seed: int = 0, threads: int = 0):
        self.network, self.env, self.threads = network, env, threads
        self.device = next(network.parameters()).device
        self.dtype = torch.from_numpy(np.empty(0, env.observation_space.dtype)).dtype
        self.generator = None if deterministic else torch.Generator(self.device).manual_seed(seed)

    def __call__(self, obs: Any) -> Any:
        tensor = torch.as_tensor(obs, device=self.device).to(self.dtype)
        shape = self.env.observation_space.shape
        if tensor.ndim != 1 + len(shape) or tensor.shape[1:] != shape:
            raise InputError(
                f"observations must have shape (N, {str(shape)[1:-1].rstrip(',')}), not {tuple(tensor.shape)}."
            )
        action = self.network.act(tensor, self.generator)
        return action if isinstance(obs, Tensor) else action.cpu().numpy()


def load_policy(run: str | Path, deterministic: bool = False, device: str = "auto") -> Policy:
    """The policy of a run's newest checkpoint; `deterministic` takes the mode of its distribution.

    Raises:
        InputError: the folder does not exist, is incomplete or damaged, or is of another version.
    """
    folder = RunFolder.open(run)
    env = gpusim.spec(folder.config.env)
    where = gpusim.checks.device(device)
    network = folder.config.make_network(env, torch.Generator().manual_seed(0)).to(where)
    try:
        network.load_state_dict(folder.load(where)["state"]["network"])
    except (RuntimeError, KeyError):
        raise InputError(f"the checkpoint in {run} does not fit its config.json: one of them was changed.") from None
    return Policy(network, env, deterministic, folder.config.seed, folder.config.threads)


@torch.no_grad()
def evaluate(policy: Any, env: str | gpusim.Env, episodes: int, seed: int, device: str = "auto") -> Tensor:
    """Returns of `episodes` whole episodes, one in each of as many environments, `[episodes]` float32."""
    venv = gpusim.make(env, episodes, device=device, autoreset_mode="disabled", validate=False)
    obs, _ = venv.reset(seed=seed)
    for _ in range(venv.max_episode_steps or LONGEST):
        obs, _, terminated, truncated, infos = venv.step(policy(obs))
        if (terminated | truncated).all():
            break
    return infos["episode"]["r"].cpu()


def evaluate_oracle(policy: Any, env_id: str, episodes: int, seed: int) -> Tensor:
    """The same in Gymnasium's own environment of that id, on the CPU.

    Raises:
        InputError: Gymnasium has no such environment.
    """
    try:
        venv = gymnasium.make_vec(env_id.removeprefix("gpusim/"), num_envs=episodes, vectorization_mode="sync")
    except gymnasium.error.Error as error:
        raise InputError(f"Gymnasium has no environment of its own called {env_id}: {error}") from None
    obs, _ = venv.reset(seed=seed)
    returns, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        obs, reward, terminated, truncated, _ = venv.step(policy(obs))
        returns += reward * playing
        playing &= ~(terminated | truncated)
    venv.close()
    return torch.from_numpy(returns).float()
