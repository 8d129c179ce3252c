"""An environment of gymnax under jit, vmap and scan; actions are drawn in the loop.

MODE is `sim` (statistics by gymnax's LogWrapper, their sums returned), `transitions` (the same, and every transition
returned) or `bare` (no statistics, the sum of rewards returned); where no transitions are returned, the compiler leaves
observations out that the step does not need. MinAtar's games have sticky actions, as ours, except in `bare`.
"""

import gymnax
import jax
import jax.numpy as jnp
from gymnax.wrappers.purerl import LogWrapper, StickyActionWrapper
from serve import request, serve

PEERS = [
    {
        "name": "gymnax",
        "runs": "jit+scan",
        "envs": {
            "CartPole-v1": "{id}",
            "Acrobot-v1": "{id}",
            "MountainCar*": "{id}",
            "Pendulum-v1": "{id}",
            "MinAtar/*-v1": "{name}-MinAtar",
        },
        "modes": ("sim", "transitions", "bare"),
        "differs": "float32; MinAtar's boards are float32 too, its episodes end after 1,000 steps, and `bare` has no sticky "
        "actions.",
    }
]
STICKY = 0.1  # of MinAtar


def make_rollout(name: str, num_envs: int, steps: int, mode: str):
    """A first state, and a jitted function of (key, obs, state) that takes `steps` steps with random actions."""
    env, params = gymnax.make(name)
    space = env.action_space(params)
    if mode != "bare":
        env = LogWrapper(StickyActionWrapper(env, STICKY) if name.endswith("-MinAtar") else env)

    def draw(key):
        if hasattr(space, "n"):
            return jax.random.randint(key, (num_envs,), 0, space.n)
        return jax.random.uniform(key, (num_envs, *space.shape), minval=space.low, maxval=space.high)

    def step(carry, _):
        key, obs, state, total, episodes = carry
        key, key_action, key_step = jax.random.split(key, 3)
        action = draw(key_action)
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
    asked = request()
    state, rollout = make_rollout(asked.env, asked.num_envs, asked.steps, asked.mode)

    def run(calls: int) -> int:
        nonlocal state
        for _ in range(calls):
            state, out = rollout(*state)
        jax.block_until_ready((state, out))
        return calls * asked.steps * asked.num_envs

    serve(run, asked.seconds, ("gymnax", "jax", "jaxlib"), device=str(jax.devices()[0]))


if __name__ == "__main__":
    main()
