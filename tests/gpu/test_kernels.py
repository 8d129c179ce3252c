"""Each kernel on the device against its torch twin there, or in float64."""

import pytest
import torch

import gpusim
from gpusim.kernels.adam import adam_step, adam_step_torch, sum_parts, sum_rows_torch
from gpusim.kernels.gae import gae, gae_torch
from gpusim.kernels.mlp import PRECISIONS, MlpShape
from gpusim.kernels.moments import (
    discounted_returns,
    discounted_returns_torch,
    minibatch_moments,
    minibatch_moments_torch,
    update_moments,
    update_moments_torch,
)
from gpusim.kernels.policy import MlpPolicy
from gpusim.kernels.sampling import categorical, categorical_torch, gaussian, gaussian_torch
from gpusim.kernels.shuffle import shuffle, shuffle_torch
from gpusim.kernels.update import METRICS, Data, Loss, make_workspace, ppo_gradient, ppo_gradient_torch

pytestmark = pytest.mark.gpu
WITHIN = {"tf32x3": 2e-5, "tf32": 8e-3, "bf16": 2e-2}  # of the largest entry
SHAPES = [
    MlpShape(4, 64, 64, 2, "tanh", False),
    MlpShape(6, 32, 48, 3, "relu", False),
    MlpShape(3, 64, 64, 1, "tanh", True),
    MlpShape(11, 100, 17, 4, "tanh", True),
    MlpShape(8, 128, 128, 5, "tanh", False),
    MlpShape(4, 256, 256, 2, "relu", False),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_precision = pytest.mark.parametrize("precision", PRECISIONS)


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed)).cuda()


def parameters(shape):
    return normal(shape.size, seed=1, scale=0.3)


@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (7, 33), (128, 1000), (64, 4099)])
def test_gae(steps, envs):
    values = [normal(steps, envs, seed=k) for k in range(3)]
    terminated, truncated = normal(steps, envs, seed=3) > 1.5, normal(steps, envs, seed=4) > 1.5
    arguments = (*values, terminated, terminated | truncated, 0.99, 0.95)
    torch.testing.assert_close(gae(*arguments), gae_torch(*arguments), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 100, 4099])
def test_sampling(n):
    seed, clock = (torch.tensor(x, device="cuda") for x in (2**62 + 5, 2**33 + 1))
    index = torch.arange(n, device="cuda")
    for outputs in (2, 3, 7):
        logits, log_std = normal(n, outputs), normal(outputs, seed=5)
        ours, theirs = categorical(logits, seed, index, clock), categorical_torch(logits, seed, index, clock)
        assert (ours.sample != theirs.sample).float().mean() < 1e-3  # where the number drawn lies on the border
        same = ours.sample == theirs.sample
        torch.testing.assert_close(ours.log_prob[same], theirs.log_prob[same], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.entropy, theirs.entropy, rtol=1e-5, atol=1e-5)
        ours = gaussian(logits, log_std, seed, index, clock)
        torch.testing.assert_close(ours, gaussian_torch(logits, log_std, seed, index, clock), rtol=1e-4, atol=1e-4)


def minibatch(shape, steps=8, envs=50):
    sample = normal(steps, shape.outputs, envs, seed=3)
    if not shape.gaussian:
        sample = sample.argmax(1).int()
    lanes = [normal(steps, envs, seed=k) for k in (4, 5, 6)]
    return Data(normal(steps, shape.inputs, envs, seed=2), sample, lanes[0] - 1.0, lanes[1], lanes[2])


def doubled(x):
    return x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x


@each_precision
@each_shape
@pytest.mark.parametrize("size", [1, 130, 350])
def test_gradient(shape, precision, size):
    """Against autograd in float64, for a minibatch of no round size, from the middle of the permutation."""
    flat, data, loss = parameters(shape), minibatch(shape), Loss(0.2, 0.5, 0.01, True, True)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(7)).int().cuda()
    moments = torch.tensor([0.1, 1.3], device="cuda")
    normalizer = normal(shape.inputs, seed=8), normal(shape.inputs, seed=9).abs()
    workspace, exact = make_workspace(shape, size, "cuda"), make_workspace(shape, size, "cuda")
    workspace.partials.fill_(torch.nan)
    ppo_gradient(flat, shape, data, order, 3, size, loss, workspace, moments, normalizer, precision)
    exact = exact._replace(partials=exact.partials.double())
    data = Data(*map(doubled, data))
    normalizer = tuple(map(doubled, normalizer))
    ppo_gradient_torch(doubled(flat), shape, data, order, 3, size, loss, exact, doubled(moments), normalizer)
    ours, theirs = workspace.partials.double().sum(0), exact.partials.sum(0)
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error < WITHIN[precision], float(error)


def policy(env, precision="tf32x3"):
    spec = gpusim.spec(env)
    discrete, inputs = hasattr(spec.action_space, "n"), spec.observation_space.shape[0]
    outputs = int(spec.action_space.n) if discrete else spec.action_space.shape[0]
    shape = MlpShape(inputs, 64, 64, outputs, "tanh", not discrete)
    stretch = () if discrete else (torch.zeros(outputs).cuda(), torch.from_numpy(spec.action_space.high).cuda())
    return MlpPolicy(
        parameters(shape), shape, normal(inputs), normal(inputs).abs() + 0.5, *stretch, precision=precision
    )


@pytest.mark.parametrize("env", [e for e in gpusim.env_ids() if len(gpusim.spec(e).observation_space.shape) == 1])
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


@each_shape
@pytest.mark.parametrize("max_norm", [1e-3, 1e3])
def test_adam(shape, max_norm):
    """Three steps, of which the first starts from nothing, against the same in float64."""
    workspace = make_workspace(shape, 1000, "cuda")
    workspace.partials.copy_(normal(*workspace.partials.shape, seed=3))
    exact = workspace._replace(
        partials=workspace.partials.double(), grad=workspace.grad.double(), squares=workspace.squares.double()
    )
    sum_rows_torch(exact.partials, exact.grad, exact.squares)
    sum_parts(workspace)
    ours = [parameters(shape), *torch.zeros(2, shape.size, device="cuda"), torch.zeros((), device="cuda")]
    theirs = [x.double() for x in ours]
    rate, losses = torch.tensor(1e-2, device="cuda"), torch.full((METRICS,), torch.nan, device="cuda")
    exact_losses = losses.double()
    for _ in range(3):
        adam_step(workspace, *ours, rate, max_norm, 1e-5, losses)
        adam_step_torch(exact, *theirs, rate.double(), max_norm, 1e-5, exact_losses)
    for a, b in zip((*ours, losses, workspace.grad), (*theirs, exact_losses, exact.grad), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)
    assert workspace.arrived.item() == 0


@pytest.mark.parametrize("size", [1, 5, 1000, 4099, 2**20 + 1])
def test_shuffle(size):
    """Bit for bit the twin's, and a permutation."""
    seed, counter = (torch.tensor(x, device="cuda") for x in (2**62 + 5, 17))
    ours = shuffle(size, seed, counter)
    assert torch.equal(ours, shuffle_torch(size, seed, counter))
    assert torch.equal(ours.sort().values, torch.arange(size, dtype=torch.int32, device="cuda"))
    assert size < 5 or not torch.equal(ours, shuffle(size, seed, counter + 1))


@pytest.mark.parametrize("size", [1000, 70_001])
def test_minibatch_moments(size):
    advantage = normal(size) + 3.0
    order = shuffle(size, *torch.zeros(2, dtype=torch.int64, device="cuda"))
    found = minibatch_moments(advantage, order, 7)
    torch.testing.assert_close(found, minibatch_moments_torch(advantage.double(), order, 7).float())


@pytest.mark.parametrize(("steps", "inputs", "envs"), [(1, 1, 2), (16, 5, 333), (64, 4, 4099)])
def test_running_moments(steps, inputs, envs):
    ours, theirs = ([torch.full((k,), 0.5, dtype=torch.float64).cuda() for k in (inputs, inputs)] for _ in range(2))
    counts = [torch.tensor(7.0, dtype=torch.float64).cuda() for _ in range(2)]
    for seed in range(2):
        batch = normal(steps, inputs, envs, seed=seed) + 2.0
        update_moments(*ours, counts[0], batch)
        update_moments_torch(*theirs, counts[1], batch)
    torch.testing.assert_close([*ours, counts[0]], [*theirs, counts[1]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (20, 333), (64, 4099)])
def test_discounted_returns(steps, envs):
    reward, done = normal(steps, envs), normal(steps, envs, seed=1) > 1.0
    ours, theirs = (normal(envs, seed=2) for _ in range(2))
    found = discounted_returns(reward, done, ours, 0.99)
    torch.testing.assert_close(found, discounted_returns_torch(reward, done, theirs, 0.99))
    torch.testing.assert_close(ours, theirs)


@each_precision
def test_values_in_the_rollout_against_float64(precision):
    vec = gpusim.make("Acrobot-v1", 1000, device="cuda", backend="triton")
    vec.reset(seed=0)
    acting = policy("Acrobot-v1", precision)
    kept = vec.rollout(3, acting)
    exact = acting._replace(flat=acting.flat.double(), mean=acting.mean.double(), scale=acting.scale.double())
    value = exact.value(kept.obs.double())
    assert (kept.extras["value"] - value).abs().max() < WITHIN[precision] * value.abs().max()
