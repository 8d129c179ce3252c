"""JAX arrays: the same steps as the bare environment's, without a copy where XLA allows it, and for good."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="jax is not installed")
import jax
import jax.numpy as jnp

from gpusim.adapters import to_jax
from gpusim.wrappers import NormalizeObservation
from tests.envs.test_wrappers import each_mode, make


def same(a, b):
    assert isinstance(a, jax.Array)
    assert a.dtype == b.numpy().dtype
    np.testing.assert_array_equal(np.asarray(a), b.numpy())


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@each_mode
def test_steps_are_those_of_the_bare_environment(env, mode):
    def fresh():
        return NormalizeObservation(make(env, 4, autoreset_mode=mode, max_episode_steps=20))

    ours, bare = to_jax(fresh()), fresh()
    policy = jax.jit(lambda key, obs: jax.random.uniform(key, (4, 1), minval=-1.0) + 0 * obs[:, :1])
    same(ours.reset(seed=5)[0], obs := bare.reset(seed=5)[0])
    for step in range(60):
        action = policy(jax.random.key(step), jnp.asarray(obs.numpy()))
        action = (action[:, 0] > 0).astype(jnp.int32) if env == "CartPole-v1" else action
        *mine, infos = ours.step(action)
        *theirs, their_infos = bare.step(torch.from_numpy(np.array(action)))
        for a, b in zip(mine, theirs, strict=True):
            same(a, b)
        assert infos.keys() == their_infos.keys()
        same(infos["final_obs"], their_infos["final_obs"])
        same(infos["episode"]["l"], their_infos["episode"]["l"])
        obs, over = theirs[0], theirs[2] | theirs[3]
        if mode == "disabled" and over.any():
            mask = jnp.asarray(over.numpy())
            same(ours.reset(options={"reset_mask": mask})[0], obs := bare.reset(options={"reset_mask": over})[0])


@pytest.mark.parametrize("copy", [True, False])
def test_arrays_of_earlier_steps_stay_as_they_were(copy):
    env = to_jax(make(num_envs=64, copy=copy))
    obs, _ = env.reset(seed=0)
    kept = [(obs, jnp.copy(obs))]  # looked at through JAX alone, which remembers what NumPy was shown
    for _ in range(40):
        obs, reward, *_ = env.step(jnp.ones(64, jnp.int32))
        kept += [(obs, jnp.copy(obs)), (reward, jnp.copy(reward))]
        jax.block_until_ready(kept[-2:])
    assert all((array == then).all() for array, then in kept)


def test_aligned_memory_is_taken_as_it_is():
    env = to_jax(make(num_envs=4096))
    inner, given = env.env.step, []
    env.env.step = lambda actions: given.append(inner(actions)) or given[-1]
    env.reset(seed=0)
    shared = 0
    for _ in range(30):
        returned = env.step(jnp.zeros(4096, jnp.int32))
        for array, tensor in zip(returned[:4], given[-1][:4], strict=True):
            aligned = tensor.data_ptr() % 64 == 0
            assert (array.unsafe_buffer_pointer() == tensor.data_ptr()) == aligned
            shared += aligned
    assert shared > 10


def test_the_rest_is_the_environments():
    env = to_jax(make(num_envs=4))
    assert (env.num_envs, env.single_action_space.n, env.autoreset_mode.name) == (4, 2, "SAME_STEP")
    env.reset()
    _, _, _, _, infos = env.step(jnp.zeros(4, jnp.int32))
    assert list(infos) == ["final_obs", "_final_obs", "episode", "_episode", "reset"]
    assert len(infos) == 5
