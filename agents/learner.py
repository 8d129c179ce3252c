"""What every learner is made of: environments, a network, its optimizer, a generator, and the episodes that ended last."""

from typing import Any

import torch
from torch import Tensor

import gpusim
from gpusim.agents.config import RunConfig
from gpusim.agents.episodes import EpisodeWindow
from gpusim.agents.optimizer import Adam
from gpusim.rollout import Rollout


class Learner:
    """The base of the algorithms; each adds `iterate`."""

    def __init__(self, config: RunConfig):
        config.check()
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.env = gpusim.make(config.env, config.num_envs, device=config.device, backend=config.backend)
        device = self.env.device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # whose streams and events are meant from here on
            torch.backends.cudnn.deterministic = True  # convolutions, so that a resumed run ends like the unbroken one
        self.network = config.make_network(self.env.env, torch.Generator().manual_seed(config.seed)).to(device)
        self.optimizer = Adam(self.network.trained(), max_grad_norm=config.max_grad_norm)
        self.generator = torch.Generator(device).manual_seed(config.seed + 1)
        self.window = EpisodeWindow(max(100, config.num_envs)).to(device)
        self.iteration = 0
        self.env.reset(seed=config.seed)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.iteration * self.config.steps_per_iteration

    @property
    def path(self) -> str:
        """What an iteration is made of."""
        return "torch operations"

    def iterate(self) -> dict[str, Tensor]:
        """One iteration: collect, learn; the metrics as scalars on the device."""
        raise NotImplementedError

    def collect(self, num_steps: int) -> Rollout:
        """`num_steps` of every environment by the present policy; `extras["sample"]` is what the policy drew."""
        rollout = self.env.rollout(num_steps, self._policy)
        self.window.add(rollout.episode_return, rollout.episode_length, rollout.terminated | rollout.truncated)
        return rollout

    @torch.no_grad()
    def _policy(self, obs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        sample = self.network.distribution(obs).sample(self.generator)
        return self.network.env_action(sample), {"sample": sample}

    def modules(self) -> dict[str, torch.nn.Module]:
        """What holds the tensors that a checkpoint keeps."""
        return {"network": self.network, "optimizer": self.optimizer, "window": self.window}

    def state(self) -> dict[str, Any]:
        """All that the next iteration depends on, as tensors and primitives."""
        return {
            "iteration": self.iteration,
            "env": _plain(self.env.get_state()),
            "generator": self.generator.get_state(),
            **{name: module.state_dict() for name, module in self.modules().items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes up where the learner stood that gave `state`."""
        self.iteration = state["iteration"]
        self.env.set_state(state["env"])
        self.generator.set_state(state["generator"].cpu())
        for name, module in self.modules().items():
            module.load_state_dict(state[name])


def _plain(tree: Any) -> Any:
    """Tuples with named fields become dicts."""
    return {k: _plain(v) for k, v in tree._asdict().items()} if hasattr(tree, "_asdict") else tree
