"""Run by test_policy.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

The policy inside the kernel against the same rollout step by step on torch.
"""

import pytest
import torch
from gymnasium.spaces import Discrete

import gpusim
from gpusim.envs.classic import CLASSIC
from gpusim.kernels.launch import recording
from gpusim.kernels.mlp import MlpShape
from gpusim.kernels.policy import MlpPolicy
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


def policy_for(env, hidden=(16, 24), activation="tanh", normalized=False):
    generator, space = torch.Generator().manual_seed(0), env.action_space
    discrete, inputs = isinstance(space, Discrete), env.observation_space.shape[0]
    shape = MlpShape(inputs, *hidden, int(space.n) if discrete else space.shape[0], activation, not discrete)
    policy = MlpPolicy(0.2 * torch.randn(shape.size, generator=generator), shape)
    if normalized:
        policy = policy._replace(mean=torch.linspace(-0.1, 0.1, inputs), scale=torch.linspace(0.5, 30.0, inputs))
    if not discrete:
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        policy = policy._replace(centre=(low + high) / 2, half=(high - low) / 2)
    return policy


def pair(env, num_envs, **kwargs):
    made = [gpusim.make(env, num_envs, device="cpu", backend=b, **kwargs) for b in ("triton", "eager")]
    for each in made:
        each.reset(seed=5)
    return made


def poison(monkeypatch):
    empty, empty_like = torch.empty, torch.empty_like
    fill = lambda x: x.fill_(True if x.dtype == torch.bool else 99 if not x.is_floating_point() else torch.nan)  # noqa: E731
    monkeypatch.setattr(torch, "empty", lambda *a, **k: fill(empty(*a, **k)))
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: fill(empty_like(*a, **k)))


def agree(fused, plain):
    for name in fused._fields:
        mine, theirs = getattr(fused, name), getattr(plain, name)
        if name != "next_obs":
            torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
    assert torch.equal(fused.begun, plain.begun)
    assert set(fused.extras) == set(plain.extras) == {"sample", "log_prob", "value", "next_value"}


@pytest.mark.parametrize("env", CLASSIC, ids=lambda e: e.id)
@pytest.mark.parametrize(
    "settings", [{}, {"activation": "relu", "normalized": True, "hidden": (48, 16)}], ids=["a", "b"]
)
def test_rollout(env, settings, monkeypatch):
    """Two rollouts in a row, with time limits that cut most episodes: every truncated step has a value of its own."""
    triton, eager = pair(env, 37, max_episode_steps=4)
    policy = policy_for(env, **settings)
    poison(monkeypatch)
    for steps in (3, 6):
        fused, plain = triton.rollout(steps, policy), eager.rollout(steps, policy)
        agree(fused, plain)
        assert fused.next_obs is None
    assert fused.truncated.any()
    assert triton.clock == eager.clock == 9
    torch.testing.assert_close(triton.get_state().elapsed, eager.get_state().elapsed)


def test_terminated_steps_have_no_value_after_them():
    triton, eager = pair("CartPole-v1", 70)
    policy = policy_for(triton.task)
    fused, plain = triton.rollout(25, policy), eager.rollout(25, policy)
    agree(fused, plain)
    assert fused.terminated.any()
    assert (fused.extras["next_value"][fused.terminated] == 0).all()
    inner = ~(fused.terminated | fused.truncated)[:-1]
    assert torch.equal(fused.extras["next_value"][:-1][inner], fused.extras["value"][1:][inner])


@pytest.mark.parametrize("num_envs", [1, 64, 65])
def test_sizes(num_envs):
    triton, eager = pair("Pendulum-v1", num_envs, max_episode_steps=3)
    agree(triton.rollout(4, policy_for(triton.task)), eager.rollout(4, policy_for(triton.task)))


@pytest.mark.parametrize("hidden", [(64, 64), (100, 20), (256, 256)], ids=str)
def test_widths(hidden):
    triton, eager = pair("CartPole-v1", 5)
    policy = policy_for(triton.task, hidden=hidden)
    agree(triton.rollout(2, policy), eager.rollout(2, policy))


def test_drawn_parameters():
    kwargs = {"params": {"gravity": gpusim.Uniform(5.0, 15.0), "force": torch.linspace(5.0, 15.0, 9)}}
    triton, eager = pair("CartPole-v1", 9, max_episode_steps=3, **kwargs)
    agree(triton.rollout(8, policy_for(triton.task)), eager.rollout(8, policy_for(triton.task)))


def test_which_path_is_taken():
    triton, _ = pair("CartPole-v1", 5)
    with recording() as launches:
        triton.rollout(64, policy_for(triton.task))
    assert [launch.kernel.fn.__name__ for launch in launches].count("rollout_kernel") == 1
    small = policy_for(
        triton.task, hidden=(8, 8)
    )  # too narrow for the kernel: the policy on torch, the steps by kernel
    assert triton.rollout(3, small).next_obs is not None
    other = gpusim.make("CartPole-v1", 5, device="cpu", backend="triton", autoreset_mode="next_step")
    other.reset(seed=0)
    assert other.rollout(3, policy_for(other.task)).next_obs is not None
