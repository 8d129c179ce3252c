"""rsl_rl: what the real library's storage holds, beside the bare environment; what comes after; what is refused."""

import warnings

import pytest
import torch

import gpusim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("rsl_rl", reason="rsl_rl is not installed")
    from benchmarks.trainers import rsl_rl as driver
    from gpusim.adapters import to_rsl_rl


def make(env="Pendulum-v1", num_envs=8, **kwargs):
    return gpusim.make(env, num_envs, device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("env", "kwargs", "sentence"),
    [
        ("Pendulum-v1", {"autoreset_mode": "next_step"}, r'rsl_rl .* autoreset_mode="same_step", not "next_step"\.$'),
        ("CartPole-v1", {}, r"^rsl_rl has continuous actions only, and those of CartPole-v1 are Discrete\(2\)"),
        (
            "Pendulum-v1",
            {"copy": False},
            "rsl_rl keeps the tensors of earlier steps: make this environment with copy=True",
        ),
    ],
)
def test_an_environment_that_rsl_rl_cannot_use_is_refused(env, kwargs, sentence):
    with pytest.raises(gpusim.InputError, match=sentence):
        to_rsl_rl(make(env, **kwargs))


def test_the_storage_holds_what_the_bare_environment_gives():
    """rsl_rl's bootstrap at time limits included: the value of the observation that was acted on."""
    env = make(max_episode_steps=20)
    env.reset(seed=3)
    adapted = to_rsl_rl(env)
    bare = make(max_episode_steps=20)
    bare.reset(seed=3)
    obs, _ = bare.reset()
    runner = driver.trained(adapted, 1)
    stored = runner.alg.storage
    ends = 0
    for t in range(32):
        assert torch.equal(stored.observations["policy"][t], obs)
        obs, reward, terminated, truncated, _ = bare.step(stored.actions[t].clamp(-2, 2))
        assert torch.equal(stored.dones[t, :, 0].bool(), truncated)
        bootstrap = 0.95 * stored.values[t, :, 0] * truncated
        assert torch.equal(stored.rewards[t, :, 0], reward + bootstrap)
        assert not terminated.any()
        ends += int(truncated.sum())
    assert ends == 8
    assert (stored.actions.abs() > 2).any()


def test_first_episodes_begin_from_the_seed_or_go_on():
    obs = to_rsl_rl(make(), seed=3).get_observations()["policy"]
    assert torch.equal(obs, make().reset(seed=3)[0])
    assert not torch.equal(to_rsl_rl(make()).get_observations()["policy"], obs)


def test_a_training_is_repeated_by_its_seeds():
    def outcome(seed):
        torch.manual_seed(0)
        return driver.trained(to_rsl_rl(make(), seed=seed), 1).alg.storage.rewards

    first = outcome(1)
    assert torch.equal(first, outcome(1))
    assert not torch.equal(first, outcome(2))


def test_the_environment_outlives_inference_mode():
    env = make()
    env.reset(seed=1)
    driver.trained(to_rsl_rl(env), 1)
    state = env.get_state()
    first = env.step(torch.full((8, 1), 0.5))[0]
    env.set_state(state)
    assert torch.equal(env.step(torch.full((8, 1), 0.5))[0], first)
    assert not first.is_inference()
    env.reset(options={"reset_mask": torch.arange(8) < 3})
    env.reset(seed=0)[0].mul_(2)


def test_first_episodes_have_random_lengths():
    env = make(num_envs=64)
    adapted = to_rsl_rl(env)
    torch.manual_seed(0)
    driver.trained(adapted, 1, init_at_random_ep_len=True)
    expected = env.get_state().elapsed
    assert torch.equal(adapted.episode_length_buf, expected.long())
    assert adapted.episode_length_buf.dtype == torch.int64
    assert len(expected.unique()) > 30


def test_what_is_assigned_to_the_lengths_ends_episodes():
    env = make(max_episode_steps=20)
    adapted = to_rsl_rl(env)
    adapted.episode_length_buf = torch.tensor([0, 19, 18, 19, 0, 0, 0, 0])
    _, _, done, extras = adapted.step(torch.zeros(8, 1))
    assert done.tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert torch.equal(extras["time_outs"], done.bool())
    assert adapted.episode_length_buf.tolist() == [1, 0, 19, 0, 1, 1, 1, 1]


def test_no_time_limit_is_told_when_a_length_is_to_be_drawn():
    env = to_rsl_rl(make(max_episode_steps=-1))
    with pytest.raises(gpusim.InputError, match="no time limit"):
        driver.trained(env, 1, init_at_random_ep_len=True)
