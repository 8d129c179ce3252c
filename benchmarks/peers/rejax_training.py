"""Rejax trains PPO, iteration after iteration, at the settings of `benchmarks/gpu.py`.

    python rejax_training.py CartPole-v1 NUM_ENVS STEPS train SECONDS

One compiled call is several of its iterations, so that the host is no part of what is measured.
"""

import gymnax
import jax
import rejax
from serve import request, serve

ITERATIONS = 8  # of a call
SETTINGS = {
    "agent_kwargs": {"activation": "tanh", "hidden_layer_sizes": (64, 64)},
    "num_epochs": 4,
    "num_minibatches": 16,
    "learning_rate": 2.5e-4,
    "max_grad_norm": 0.5,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_eps": 0.2,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "total_timesteps": 10**9,
    "eval_freq": 10**9,
}


def main() -> None:
    asked = request()
    env, params = gymnax.make(asked.env)
    learner = rejax.PPO.create(env=env, env_params=params, num_envs=asked.num_envs, num_steps=asked.steps, **SETTINGS)
    train = jax.jit(
        lambda state: jax.lax.fori_loop(0, ITERATIONS, lambda _, s: learner.train_iteration(s), state), donate_argnums=0
    )
    state = jax.jit(learner.init_state)(jax.random.key(0))

    def run(calls: int) -> int:
        nonlocal state
        for _ in range(calls):
            state = train(state)
        jax.block_until_ready(state)
        return calls * ITERATIONS * asked.steps * asked.num_envs

    serve(run, asked.seconds, ("rejax", "gymnax", "jax", "jaxlib"), device=str(jax.devices()[0]))


if __name__ == "__main__":
    main()
