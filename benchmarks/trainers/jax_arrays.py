"""A loop of JAX's: jitted functions between steps, and REINFORCE of a few updates."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch
from torch import Tensor

import gpusim
from gpusim.adapters import to_jax

TRAINER, LIBRARY, ENV, MODE, COPIES = "JAX", "jax", "CartPole-v1", "same_step", 0


def through(num_envs: int, device: torch.device, actions: Tensor) -> Callable[[], object]:
    env = to_jax(gpusim.make(ENV, num_envs, device=device))
    env.reset(seed=0)
    arrays = [jax.dlpack.from_dlpack(action.int().contiguous()) for action in actions]

    def play() -> None:
        for array in arrays:
            env.step(array)

    return play


def train(device: torch.device) -> tuple[str, int]:
    env, length, updates = to_jax(gpusim.make(ENV, 64, device=device)), 32, 3
    weights = jnp.zeros((4, 2))
    act = jax.jit(lambda key, weights, obs: jax.random.categorical(key, obs @ weights))

    def loss(weights: jax.Array, obs: jax.Array, actions: jax.Array, returns: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(obs @ weights), actions[..., None], -1)[..., 0]
        return -(chosen * (returns - returns.mean())).mean()

    gradient = jax.jit(jax.grad(loss))
    key = jax.random.key(0)
    obs, _ = env.reset(seed=0)
    for _ in range(updates):
        seen, done = [], []
        for _ in range(length):
            key, own = jax.random.split(key)
            action = act(own, weights, obs)
            seen.append((obs, action))
            obs, _, terminated, truncated, _ = env.step(action)
            done.append(terminated | truncated)
        returns, ahead = [], jnp.zeros(64)
        for over in reversed(done):
            ahead = 1 + 0.98 * ahead * ~over
            returns.append(ahead)
        observed, actions = (jnp.stack(x) for x in zip(*seen, strict=True))
        weights = weights - 0.1 * gradient(weights, observed, actions, jnp.stack(returns[::-1]))
    if not (jnp.isfinite(weights).all() and jnp.abs(weights).max() > 0):
        raise RuntimeError("nothing was learnt from")
    return "REINFORCE", updates * length * 64
