"""An environment of gymnax under jit and scan, measured on request by `benchmarks/throughput.py`, by gymnax's own Python.

    .venv-gymnax/bin/python gymnax_rollout.py ENV NUM_ENVS STEPS MODE SECONDS

MODE is `sim` (statistics by gymnax's LogWrapper, their sums returned), `transitions` (the same, and every transition
returned) or `bare` (no statistics, the sum of rewards returned); where no transitions are returned, the compiler leaves
observations out that the step does not need. It prints one line of JSON when it is compiled and warm, and one for each
line that it reads: the environment steps per second of one round.
"""

import importlib.metadata
import json
import math
import sys
import time

import gymnax
import jax
import jax.numpy as jnp
from gymnax.wrappers.purerl import LogWrapper


def make_rollout(name: str, num_envs: int, steps: int, mode: str):
    """A first state, and a jitted function of (key, state) that takes `steps` steps with random actions."""
    env, params = gymnax.make(name)
    count = env.num_actions
    env = env if mode == "bare" else LogWrapper(env)

    def step(carry, _):
        key, obs, state, total, episodes = carry
        key, key_action, key_step = jax.random.split(key, 3)
        action = jax.random.randint(key_action, (num_envs,), 0, count)
        keys = jax.random.split(key_step, num_envs)
        new_obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, action, params
        )
        if mode == "bare":
            total = total + reward
        else:
            total = total + jnp.where(info["returned_episode"], info["returned_episode_returns"], 0.0)
            episodes = episodes + info["returned_episode"]
        if mode != "transitions":
            return (key, obs, state, total, episodes), ()
        kept = (obs, action, reward, terminated, truncated, info["final_observation"])
        return (key, new_obs, state, total, episodes), kept

    @jax.jit
    def rollout(key, obs, state):
        zero = jnp.zeros(num_envs)
        (key, obs, state, total, episodes), kept = jax.lax.scan(step, (key, obs, state, zero, zero), None, steps)
        return (key, obs, state), (total.sum(), episodes.sum(), kept)

    keys = jax.random.split(jax.random.key(0), num_envs)
    obs, state = jax.vmap(env.reset, (0, None))(keys, params)
    return (jax.random.key(1), obs if mode == "transitions" else (), state), rollout


def main() -> None:
    name, num_envs, steps, mode, seconds = (
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        float(sys.argv[5]),
    )
    state, rollout = make_rollout(name, num_envs, steps, mode)

    def run(repeats: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(repeats):
            state, out = rollout(*state)
        jax.block_until_ready((state, out))
        return time.perf_counter() - start

    first = run(1)
    run(1)
    repeats = max(1, math.ceil(seconds / min(run(1), run(1))))
    names = ("gymnax", "jax", "jaxlib")
    versions = {name: importlib.metadata.version(name) for name in names} | {"device": str(jax.devices()[0])}
    print(json.dumps({"first_s": first, "versions": versions}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(num_envs * steps * repeats / run(repeats)), flush=True)


if __name__ == "__main__":
    main()
