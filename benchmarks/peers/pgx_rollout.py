"""A MinAtar game of Pgx under jit, vmap and scan; actions are drawn in the loop, `auto_reset` is Pgx's own.

MODE is `sim` (returns and lengths of episodes kept, their sums returned), `transitions` (the same, and every transition
returned; boards that end an episode are lost to `auto_reset`) or `bare` (only the sum of rewards returned).
"""

import jax
import jax.numpy as jnp
import pgx
from pgx.experimental import auto_reset
from serve import request, serve

PEERS = [
    {
        "name": "Pgx",
        "runs": "jit+scan",
        "envs": {"MinAtar/*-v1": "minatar-{snake}"},
        "modes": ("sim", "transitions", "bare"),
        "differs": "Sticky actions in every mode; boards are boolean, the last one of an episode is not returned; "
        "statistics are kept by the driver.",
    }
]


def make_rollout(name: str, num_envs: int, steps: int, mode: str):
    """A first state, and a jitted function of it that takes `steps` steps with random actions."""
    env = pgx.make(name)
    advance = jax.vmap(auto_reset(env.step, env.init))

    def step(carry, _):
        key, state, returns, lengths, sums = carry
        key, key_action, key_step = jax.random.split(key, 3)
        action = jax.random.randint(key_action, (num_envs,), 0, env.num_actions)
        new = advance(state, action, jax.random.split(key_step, num_envs))
        reward, done = new.rewards[:, 0], new.terminated | new.truncated
        if mode == "bare":
            return (key, new, returns, lengths, (sums[0] + reward, *sums[1:])), ()
        returns, lengths = returns + reward, lengths + 1
        sums = tuple(s + jnp.where(done, x, 0) for s, x in zip(sums, (returns, lengths, 1.0), strict=True))
        carry = key, new, jnp.where(done, 0.0, returns), jnp.where(done, 0, lengths), sums
        kept = (state.observation, action, reward, new.terminated, new.truncated) if mode == "transitions" else ()
        return carry, kept

    @jax.jit
    def rollout(key, state, returns, lengths):
        zero = jnp.zeros(num_envs)
        carry, kept = jax.lax.scan(step, (key, state, returns, lengths, (zero,) * 3), None, steps)
        return carry[:-1], (tuple(s.sum() for s in carry[-1]), kept)

    state = jax.vmap(env.init)(jax.random.split(jax.random.key(0), num_envs))
    return (jax.random.key(1), state, jnp.zeros(num_envs), jnp.zeros(num_envs, int)), rollout


def main() -> None:
    asked = request()
    state, rollout = make_rollout(asked.env, asked.num_envs, asked.steps, asked.mode)

    def run(calls: int) -> int:
        nonlocal state
        for _ in range(calls):
            state, out = rollout(*state)
        jax.block_until_ready((state, out))
        return calls * asked.steps * asked.num_envs

    serve(run, asked.seconds, ("pgx", "jax", "jaxlib"), device=str(jax.devices()[0]))


if __name__ == "__main__":
    main()
