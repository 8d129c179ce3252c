"""Rejax learns CartPole with the settings that it publishes for it; one line of JSON tells how long.

    python rejax_cartpole.py {ppo,dqn,pqn} SEED TARGET

Rejax compiles a whole run, which cannot stop at a target. Here what its `train` does between two evaluations (eval_freq
steps) is compiled, without the evaluation, and called again and again: the same iterations, with a look at the clock and
at the returns of training in between, which an environment wrapper keeps. Compilation is ahead of time, in `compile`.
What is unsolved at the published number of steps goes on, to `PATIENCE` times as many: no schedule ends there.
"""

import importlib.metadata
import json
import sys
import time
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import rejax
from flax import struct
from gymnax.wrappers.purerl import GymnaxWrapper
from score import mean_return

LEARNERS = [
    {
        "name": "Rejax",
        "algorithms": ("ppo", "dqn", "pqn"),
        "differs": "Its published settings, compiled in parts of one evaluation interval, so that it can stop at the "
        "target.",
    }
]
SETTINGS: dict[str, dict[str, Any]] = {  # of configs/gymnax/cartpole.yaml
    "ppo": {
        "agent_kwargs": {"activation": "tanh"},
        "num_envs": 5,
        "num_steps": 100,
        "num_epochs": 5,
        "num_minibatches": 5,
        "learning_rate": 0.00075,
        "max_grad_norm": 0.5,
        "total_timesteps": 100_000,
        "eval_freq": 1000,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_eps": 0.2,
        "ent_coef": 0.01,
        "vf_coef": 0.5,
    },
    "dqn": {
        "agent": "DuelingQNetwork",
        "agent_kwargs": {"activation": "swish"},
        "num_envs": 10,
        "buffer_size": 50_000,
        "fill_buffer": 5_000,
        "batch_size": 100,
        "max_grad_norm": 10,
        "learning_rate": 0.001,
        "num_epochs": 5,
        "total_timesteps": 100_000,
        "eval_freq": 2_500,
        "polyak": 0.98,
        "eps_start": 1,
        "eps_end": 0.05,
        "exploration_fraction": 0.5,
        "gamma": 0.99,
        "ddqn": True,
        "normalize_observations": False,
    },
    "pqn": {
        "num_envs": 16,
        "num_steps": 128,
        "num_minibatches": 16,
        "max_grad_norm": 10,
        "learning_rate": 0.0003,
        "num_epochs": 5,
        "total_timesteps": 524_288,
        "eval_freq": 16_384,
        "eps_start": 1,
        "eps_end": 0.05,
        "exploration_fraction": 0.5,
        "gamma": 0.99,
        "td_lambda": 0.9,
        "normalize_observations": False,
    },
}
KEPT = 100  # episodes that the target is an average of
PATIENCE = 5


class Kept(struct.PyTreeNode):
    """An environment's state, and its last `KEPT` episodes: their returns, and the steps at which they ended."""

    env_state: Any
    time: jax.Array
    so_far: jax.Array
    ended: jax.Array
    returns: jax.Array
    ends: jax.Array


class KeepReturns(GymnaxWrapper):
    def __deepcopy__(self, memo):  # which Rejax makes of its configuration
        return self

    def reset(self, key, params=None):
        obs, state = self._env.reset(key, params)
        zero = jnp.int32(0)
        none = {"returns": jnp.zeros(KEPT), "ends": jnp.full(KEPT, -1)}
        return obs, Kept(env_state=state, time=zero, so_far=jnp.float32(0), ended=zero, **none)

    def step(self, key, state, action, params=None):
        obs, inner, reward, done, info = self._env.step(key, state.env_state, action, params)
        at, now, so_far = state.ended % KEPT, state.time + 1, state.so_far + reward
        state = state.replace(
            env_state=inner,
            time=now,
            so_far=jnp.where(done, 0.0, so_far),
            ended=state.ended + done,
            returns=state.returns.at[at].set(jnp.where(done, so_far, state.returns[at])),
            ends=state.ends.at[at].set(jnp.where(done, now, state.ends[at])),
        )
        return obs, state, reward, done, info


def last_mean(kept: Kept) -> float:
    """The mean return of the last `KEPT` episodes of all environments; before there are so many, -inf."""
    returns, ends = np.ravel(kept.returns), np.ravel(kept.ends)
    if (ends >= 0).sum() < KEPT:
        return -np.inf
    return float(returns[np.argsort(ends, kind="stable")[-KEPT:]].mean())


def make(algorithm: str):
    env, params = gymnax.make("CartPole-v1")
    kind = {"ppo": rejax.PPO, "dqn": rejax.DQN, "pqn": rejax.PQN}[algorithm]
    return kind.create(env=KeepReturns(env), env_params=params, **SETTINGS[algorithm])


def main(algorithm: str, seed: int, target: float) -> None:
    learner = make(algorithm)
    steps_of_one = learner.num_envs * getattr(learner, "num_steps", 1)
    iterations = -(-learner.eval_freq // steps_of_one)

    def part(state):
        return jax.lax.fori_loop(0, iterations, lambda _, s: learner.train_iteration(s), state)

    start = time.time()
    state = jax.block_until_ready(jax.jit(learner.init_state)(jax.random.key(seed)))
    train = jax.jit(part, donate_argnums=0).lower(state).compile()
    begin, solved = time.time(), False
    while int(state.global_step) < PATIENCE * learner.total_timesteps and not solved:
        state = train(state)
        solved = last_mean(jax.device_get(state.env_state)) >= target
    end = time.time()

    @jax.jit
    def greedy(obs):
        if algorithm == "ppo":
            return learner.actor.apply(state.actor_ts.params, obs, method="_action_dist").mode()
        return learner.agent.apply(state.q_ts.params, obs).argmax(axis=-1)

    found = {"solved": solved, "time": end, "training": end - begin, "compile": begin - start}
    found |= {"steps": int(state.global_step), "score": mean_return(greedy, seed + 10_000)}
    names = ("rejax", "gymnax", "jax", "gymnasium")
    print(json.dumps(found | {"versions": {name: importlib.metadata.version(name) for name in names}}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
