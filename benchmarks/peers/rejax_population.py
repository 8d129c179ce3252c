"""Rejax trains many PPO agents at once, by `vmap` over their keys, as PureJaxRL does; a line of JSON tells how long.

    python rejax_population.py '{"agents": 256, "rounds": 5, "num_envs": 8, ...}'

Told are processor seconds of an iteration of all agents, without compilation; what is not named here are Rejax's settings.
"""

import importlib.metadata
import json
import sys
import time

import gymnax
import jax
import rejax

ITERATIONS = 2  # of a call


def main(agents: int, rounds: int, hidden: list[int], **settings: float) -> None:
    env, params = gymnax.make("CartPole-v1")
    network = {"activation": "tanh", "hidden_layer_sizes": tuple(hidden)}
    learner = rejax.PPO.create(
        env=env, env_params=params, agent_kwargs=network, total_timesteps=10**9, eval_freq=10**9, **settings
    )

    def some(state):
        return jax.lax.fori_loop(0, ITERATIONS, lambda _, s: learner.train_iteration(s), state)

    state = jax.jit(jax.vmap(learner.init_state))(jax.random.split(jax.random.key(0), agents))
    train = jax.jit(jax.vmap(some), donate_argnums=0).lower(state).compile()
    found = []
    for _ in range(rounds + 1):  # the first is not counted
        start = time.process_time()
        state = jax.block_until_ready(train(state))
        found.append((time.process_time() - start) / ITERATIONS)
    versions = {name: importlib.metadata.version(name) for name in ("rejax", "gymnax", "jax")}
    print(json.dumps({"seconds": found[1:], "versions": versions}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
