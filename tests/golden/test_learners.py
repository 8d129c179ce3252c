"""The weights that short runs of every learner end with, bit for bit as they were recorded.

What a change of them is meant to be, `python -m tests.golden.test_learners` records anew: all of them, on purpose.
"""

import hashlib
import json
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import gpusim
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce

RECORDED = Path(__file__).with_name("learners.json")
ON_POLICY = {"num_envs": 6, "num_steps": 16, "total_steps": 5 * 96, "hidden": (16, 16)}
Q = ON_POLICY | {"exploration": 0.5}
REPLAY = Q | {"capacity": 600, "batch_size": 32, "learning_starts": 96, "replay_ratio": 0.05}
SHORT = {"num_envs": 5, "episode_steps": 40, "total_steps": 4 * 200, "hidden": (16, 16)}
NORMALIZED = {"normalize_obs": True, "normalize_reward": True}
CART, SWING, GAME = "CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1"
RUNS = {
    "ppo": (ppo, CART, ON_POLICY),
    "ppo, normalized": (ppo, CART, ON_POLICY | NORMALIZED | {"minibatches": 3}),
    "ppo, continuous": (ppo, SWING, ON_POLICY | NORMALIZED | {"clip_value": True, "entropy_coef": 0.01}),
    "ppo, target_kl": (ppo, CART, ON_POLICY | {"target_kl": 1e-3, "epochs": 6, "learning_rate": 1e-2}),
    "ppo, plain": (ppo, SWING, ON_POLICY | {"anneal": False, "normalize_advantage": False, "clip_reward": True}),
    "ppo, images": (ppo, GAME, ON_POLICY | {"num_envs": 3, "hidden": (16,), "total_steps": 3 * 48}),
    "a2c": (a2c, CART, ON_POLICY | {"num_steps": 5, "total_steps": 8 * 30}),
    "a2c, continuous": (a2c, SWING, ON_POLICY | NORMALIZED | {"num_steps": 5, "total_steps": 8 * 30}),
    "reinforce": (reinforce, CART, SHORT),
    "reinforce, continuous": (reinforce, SWING, SHORT | {"entropy_coef": 0.01}),
    "dqn": (dqn, CART, REPLAY),
    "dqn, single, n-step": (dqn, CART, REPLAY | {"double": False, "n_step": 3, "anneal": True}),
    "dqn, dueling": (dqn, CART, REPLAY | {"dueling": True, "tau": 0.5, "layer_norm": True}),
    "dqn, prioritized": (dqn, CART, REPLAY | {"prioritized": True}),
    "dqn, everything": (dqn, CART, REPLAY | NORMALIZED | {"prioritized": True, "dueling": True, "n_step": 2}),
    "dqn, images": (dqn, GAME, REPLAY | {"hidden": (16,), "total_steps": 3 * 96, "repeat": 0.5}),
    "pqn": (pqn, CART, Q),
    "pqn, normalized": (pqn, CART, Q | NORMALIZED | {"repeat": 0.7}),
    "pqn, images": (pqn, GAME, Q | {"num_envs": 3, "hidden": (16,), "total_steps": 3 * 48}),
}


def ended(name):
    """The digest of a run's weights, statistics and episodes."""
    algorithm, env, settings = RUNS[name]
    task = replace(gpusim.spec(env), id="Golden-v0")  # an id that no preset knows
    learner = algorithm.train(algorithm.Config(env=task, device="cpu", backend="eager", seed=3, **settings)).learner
    return digest(learner.network.state_dict() | learner.window.state_dict())


def digest(tensors):
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()


@cache
def arithmetic():
    """The digest of what this machine's arithmetic makes of fixed numbers: the sums and functions that learners use.

    Another processor, or another torch, rounds otherwise, and then no weights can be expected to be the same.
    """
    draw = torch.Generator().manual_seed(0)
    found = {"init": torch.nn.init.orthogonal_(torch.empty(16, 16), generator=draw)}
    numbers = torch.randn(96, 16, generator=draw)
    conv = torch.nn.utils.skip_init(torch.nn.Conv2d, 4, 16, 3)
    torch.nn.init.orthogonal_(conv.weight, generator=draw)
    torch.nn.init.zeros_(conv.bias)
    images = torch.rand(48, 4, 10, 10, generator=draw)
    for i, rows in enumerate((1, 6, 12, 32, 96)):
        weights = found["init"].clone().requires_grad_()
        hidden = (numbers[:rows] @ weights).tanh()
        loss = hidden.log_softmax(-1).exp().square().mean() + conv(images[: rows // 2 + 1]).relu().var()
        loss.backward()
        found |= {f"loss{i}": loss.detach(), f"grad{i}": weights.grad, f"conv{i}": conv.weight.grad.clone()}
    found["normal"] = torch.empty(96, 16).normal_(generator=draw).double().var(0)
    found["race"] = torch.empty(96, 16).exponential_(generator=draw).log()
    x = numbers.numpy()
    found["numpy"] = torch.from_numpy(np.stack([np.sin(x), np.cos(x), np.exp(x), np.sqrt(np.abs(x))]))
    return digest(found)


def recorded():
    return json.loads(RECORDED.read_text())


def test_every_run_is_recorded():
    assert recorded()["weights"].keys() == RUNS.keys()
    assert len(set(recorded()["weights"].values())) == len(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_weights_are_the_recorded_ones(name):
    if arithmetic() != recorded()["arithmetic"]:
        pytest.skip(f"this machine rounds otherwise than the one of the record: {recorded()['made_by']}")
    assert ended(name) == recorded()["weights"][name]


def record():
    made_by = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    weights = {name: ended(name) for name in RUNS}
    content = {"made_by": made_by, "arithmetic": arithmetic(), "weights": weights}
    RECORDED.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    record()
