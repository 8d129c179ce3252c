"""The rollout with the policy inside against the same by torch, and its values against float64."""

import pytest
import torch

import gpusim
from gpusim import checks
from gpusim.kernels.mlp import PRECISIONS, MlpShape
from gpusim.kernels.policy import MlpPolicy

pytestmark = pytest.mark.gpu
WITHIN = {"tf32x3": 2e-5, "tf32": 8e-3, "bf16": 2e-2}  # of the largest entry


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed)).cuda()


def policy(env, precision="tf32x3"):
    spec = gpusim.spec(env)
    discrete, inputs = hasattr(spec.action_space, "n"), spec.observation_space.shape[0]
    outputs = int(spec.action_space.n) if discrete else spec.action_space.shape[0]
    shape = MlpShape(inputs, 64, 64, outputs, "tanh", not discrete)
    flat, mean, scale = normal(shape.size, seed=1, scale=0.3), normal(inputs), normal(inputs).abs() + 0.5
    stretch = () if discrete else (torch.zeros(outputs).cuda(), torch.from_numpy(spec.action_space.high).cuda())
    return MlpPolicy(flat, shape, mean, scale, *stretch, precision=precision)


def held(name):
    """Whether a kernel takes a network beside the environment."""
    env = gpusim.spec(name)
    return len(env.observation_space.shape) == 1 and not checks.policy_problem(env)


@pytest.mark.parametrize("env", [e for e in gpusim.env_ids(gpusim.Env) if held(e)])
@pytest.mark.parametrize("num_envs", [1, 100, 1000])
def test_rollout_with_the_policy(env, num_envs):
    """Against the same policy by torch on the eager environment, for the environments whose draws are the same."""
    both = [gpusim.make(env, num_envs, device="cuda", backend=b, max_episode_steps=5) for b in ("triton", "eager")]
    for vec in both:
        vec.reset(seed=4)
    acting = policy(env)
    ours, theirs = (vec.rollout(12, acting) for vec in both)
    assert ours.next_obs is None  # the kernel held the policy
    assert theirs.next_obs is not None
    same = torch.ones(num_envs, dtype=torch.bool, device=ours.obs.device)
    if not acting.shape.gaussian:
        same = (ours.action == theirs.action).all(0)
    assert same.float().mean() > 0.995
    for name in ("obs", "action", "reward", "episode_return", "episode_length"):
        close(getattr(ours, name)[:, same], getattr(theirs, name)[:, same], name)
    for name in ("sample", "log_prob", "value", "next_value"):
        close(ours.extras[name][:, same], theirs.extras[name][:, same], name)
    for name in ("terminated", "truncated"):
        assert torch.equal(getattr(ours, name)[:, same], getattr(theirs, name)[:, same]), name


def close(ours, theirs, name):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3, msg=lambda m: f"{name}: {m}")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_values_in_the_rollout_against_float64(precision):
    vec = gpusim.make("Acrobot-v1", 1000, device="cuda", backend="triton")
    vec.reset(seed=0)
    acting = policy("Acrobot-v1", precision)
    kept = vec.rollout(3, acting)
    exact = acting._replace(flat=acting.flat.double(), mean=acting.mean.double(), scale=acting.scale.double())
    value = exact.value(kept.obs.double())
    assert (kept.extras["value"] - value).abs().max() < WITHIN[precision] * value.abs().max()
