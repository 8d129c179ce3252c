"""The learners' parts against hand arithmetic and against torch's own."""

import math

import pytest
import torch

from gpusim.agents import a2c, pqn, reinforce
from gpusim.agents.on_policy import explained_variance
from gpusim.agents.parts.episodes import EpisodeWindow
from gpusim.agents.parts.normalize import ReturnScale, RunningMeanStd
from gpusim.agents.parts.optimizer import Adam, LossScale
from gpusim.agents.ppo import Config
from gpusim.agents.reinforce import masked_mean, policy_loss
from gpusim.kernels.distributions import Categorical, Gaussian
from gpusim.kernels.loss import Batch, ppo_loss


def t(*values):
    return torch.tensor(values)


def batch(advantage, log_prob, value=(0.0, 0.0), target=(0.0, 0.0)):
    return Batch(torch.zeros(2, 1), t(0, 1), t(*log_prob), t(*value), t(*advantage), t(*target))


HALF = math.log(0.5)


def test_ppo_loss_by_hand():
    """Two actions of probability ½. Ratios 0.5 / 0.4 = 1.25 and 0.5 / 0.8 = 0.625; clip 0.2.

    Sample 0, A = 2: min(2.5, 1.2 · 2) = 2.4. Sample 1, A = −1: min(−0.625, −0.8) = −0.8. Mean 0.8.
    Values 1 and 3, targets 0 and 1: ½ · mean(1, 4) = 1.25. Entropy ln 2.
    """
    config = Config(normalize_advantage=False, value_coef=0.5, entropy_coef=0.1)
    made = batch((2.0, -1.0), (math.log(0.4), math.log(0.8)), target=(0.0, 1.0))
    losses = ppo_loss(config.loss, made, Categorical(torch.zeros(2, 2)), t(1.0, 3.0))
    assert losses.policy.item() == pytest.approx(-0.8)
    assert losses.value.item() == pytest.approx(1.25)
    assert losses.entropy.item() == pytest.approx(math.log(2))
    assert losses.total.item() == pytest.approx(-0.8 + 0.5 * 1.25 - 0.1 * math.log(2))
    assert losses.clipped.item() == 1.0
    assert losses.kl.item() == pytest.approx((1.25 - 1 - math.log(1.25) + 0.625 - 1 - math.log(0.625)) / 2)


def test_ppo_clips_the_value_by_hand():
    """From 0 to 1 is clipped to 0.2, whose error (0.2 − 2)² = 3.24 is the greater; from 0 to 0.1 is not clipped."""
    made = batch((0.0, 0.0), (HALF, HALF), value=(0.0, 0.0), target=(2.0, 0.0))
    losses = ppo_loss(Config(clip_value=True).loss, made, Categorical(torch.zeros(2, 2)), t(1.0, 0.1))
    assert losses.value.item() == pytest.approx(0.5 * (3.24 + 0.01) / 2)


def test_ppo_normalizes_the_advantage():
    made = batch((3.0, 1.0), (HALF, math.log(0.25)))
    losses = ppo_loss(Config().loss, made, Categorical(torch.zeros(2, 2)), t(0.0, 0.0))
    assert losses.policy.item() == pytest.approx(-(1.0 * 1 - 2.0) / 2, abs=1e-6)


def test_ppo_has_no_gradient_beyond_the_clip():
    logits = torch.zeros(2, 2, requires_grad=True)
    made = batch((1.0, -1.0), (math.log(0.3), math.log(0.9)))
    ppo_loss(
        Config(normalize_advantage=False, value_coef=0.0).loss, made, Categorical(logits), t(0.0, 0.0)
    ).total.backward()
    assert torch.equal(logits.grad, torch.zeros(2, 2))


def test_reinforce_loss_by_hand():
    """log ½ times advantages 1 and 3; the third entry is masked. −(1 + 3)/2 · log ½."""
    mask = torch.tensor([[True], [True], [False]])
    loss = policy_loss(
        Categorical(torch.zeros(3, 1, 2)), torch.zeros(3, 1, dtype=torch.int64), t(1.0, 3.0, 50.0)[:, None], mask
    )
    assert loss.item() == pytest.approx(-2 * HALF)
    assert masked_mean(t(1.0, 3.0, 50.0)[:, None], mask).item() == 2.0


def test_a2c_loss_by_hand():
    """Two actions of probability ½, advantages 2 and −1: −mean(2 ln ½, −ln ½) = −½ ln ½. Errors 1 and 2: ½ · mean(1, 4)."""
    config = a2c.Config(normalize_advantage=False, value_coef=0.5, entropy_coef=0.1)
    losses = a2c.a2c_loss(config, Categorical(torch.zeros(2, 2)), t(0, 1), t(2.0, -1.0), t(1.0, 3.0), t(0.0, 1.0))
    assert losses.policy.item() == pytest.approx(-0.5 * HALF)
    assert losses.value.item() == pytest.approx(1.25)
    assert losses.entropy.item() == pytest.approx(math.log(2))
    assert losses.total.item() == pytest.approx(-0.5 * HALF + 0.5 * 1.25 - 0.1 * math.log(2))
    normal = a2c.a2c_loss(a2c.Config(), Categorical(torch.zeros(2, 2)), t(0, 1), t(2.0, -1.0), t(0.0, 0.0), t(0.0, 0.0))
    assert normal.policy.item() == pytest.approx(0.0, abs=1e-6)


def test_pqn_loss_by_hand():
    """Values 2 and 5 of the actions taken, targets 1 and 8: ½ · mean(1, 9)."""
    loss, q = pqn.pqn_loss(torch.tensor([[2.0, 7.0], [7.0, 5.0]]), t(0, 1), t(1.0, 8.0))
    assert (loss.item(), q.item()) == (2.5, 3.5)


def test_categorical_against_torch():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    action = torch.arange(7) % 5
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), logits.argmax(-1))


def test_gaussian_against_torch():
    mean, log_std = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), t(-0.5, 0.7)
    ours = Gaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    torch.testing.assert_close(ours.log_prob(mean * 0.3), theirs.log_prob(mean * 0.3))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), mean)


def test_samples_have_the_frequencies_they_should():
    generator = torch.Generator().manual_seed(0)
    probability = t(0.1, 0.6, 0.3)
    drawn = Categorical(probability.log().expand(200_000, 3)).sample(generator)
    torch.testing.assert_close(drawn.bincount() / 200_000, probability, atol=0.005, rtol=0)
    normal = Gaussian(torch.full((200_000, 1), 2.0), t(math.log(0.5))).sample(generator)
    assert normal.mean().item() == pytest.approx(2.0, abs=0.01)
    assert normal.std().item() == pytest.approx(0.5, abs=0.01)


def test_running_statistics_are_those_of_all_that_was_seen():
    data = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    running = RunningMeanStd((3,))
    for part in data.split([1, 49, 50]):
        running.update(part)
    torch.testing.assert_close(running.mean, data.double().mean(0))
    torch.testing.assert_close(running.var, data.double().var(0, unbiased=False))
    torch.testing.assert_close(running(data).mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def test_rewards_are_scaled_by_the_deviation_of_the_discounted_return():
    """γ = ½. Environment 0 gets 1, 1 and ends, 1: returns 1, 1.5, 1. Environment 1 gets 2, 0, 0: returns 2, 1, 0.5."""
    scale = ReturnScale(2, 0.5)
    reward = torch.tensor([[1.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    done = torch.tensor([[False, False], [True, False], [False, False]])
    deviation = t(1.0, 2.0, 1.5, 1.0, 1.0, 0.5).std(unbiased=False)
    torch.testing.assert_close(scale(reward, done), reward / deviation)


def test_the_window_keeps_the_last_episodes_in_order():
    window = EpisodeWindow(3)
    assert math.isnan(window.mean()[0])
    returns = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    window.add(returns, returns * 10, torch.tensor([[True, False], [True, True]]))
    assert window.mean()[0].item() == pytest.approx((1 + 3 + 4) / 3)
    window.add(returns + 10, returns, torch.tensor([[True, True], [True, True]]))
    assert window.mean()[0].item() == pytest.approx((12 + 13 + 14) / 3)
    assert window.count.item() == 7


def test_adam_is_torchs():
    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))

    ours, theirs = network(), network()
    adam = Adam(ours.parameters(), max_grad_norm=0.1)
    reference = torch.optim.Adam(theirs.parameters(), lr=1e-2, eps=1e-5)
    x = torch.randn(10, 3)
    for _ in range(5):
        norm = adam.step(ours(x).square().mean(), 1e-2)
        reference.zero_grad()
        theirs(x).square().mean().backward()
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        reference.step()
        torch.testing.assert_close(norm, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_explained_variance():
    value, returns = t(0.0, 2.0, 4.0), t(1.0, 2.0, 3.0)
    assert explained_variance(value, returns - value).item() == pytest.approx(1 - 1.0)  # deviations ∓1, 0, ±1 of ±1
    assert explained_variance(returns, t(0.0, 0.0, 0.0)).item() == 1.0
    assert explained_variance(t(5.0, 5.0, 5.0), returns - 5.0).item() == pytest.approx(0.0)
    assert explained_variance(t(1.0, 2.0), t(0.0, -1.0)).item() == 0.0  # all returns alike


def test_a_scaled_loss_steps_as_it_would_unscaled():
    """But for a gradient that overflows: that step is left out, counted, and the scale halved."""
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in "ab"]
    plain, scaled = Adam(weights[:1]), Adam(weights[1:], scaled=True)

    def step(adam, factor=1.0):
        weight = weights[adam is scaled]
        return adam.step((weight * torch.tensor([1.0, 3.0]) * factor).square().sum(), 0.1)

    for _ in range(3):
        torch.testing.assert_close(step(scaled), step(plain))
    torch.testing.assert_close(scaled.flat, plain.flat)
    before = [x.clone() for x in (scaled.flat, scaled.moment1, scaled.moment2, scaled.steps)]
    step(scaled, 1e19)  # float32 holds its square, and not the scaled one
    after = (scaled.flat, scaled.moment1, scaled.moment2, scaled.steps)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert {name: float(x) for name, x in scaled.metrics().items()} == {"loss_scale": 2.0**15, "overflows": 1.0}
    torch.testing.assert_close(step(scaled), step(plain))
    torch.testing.assert_close(scaled.flat, plain.flat)
    assert plain.metrics() == {}


def test_the_scale_grows_after_many_steps_and_has_bounds():
    scale, fine, over = LossScale(start=4.0, every=3), torch.zeros(()), torch.ones(())
    seen = []
    for overflowed in (fine, fine, fine, fine, over, fine, fine, over, over, over, fine, fine, fine):
        scale.update(overflowed)
        seen.append(scale.scale.item())
    assert seen == [4, 4, 8, 8, 4, 4, 4, 2, 1, 1, 1, 1, 2]
    assert scale.overflows == 4
    scale.scale.fill_(2.0**24)
    for _ in range(3):
        scale.update(fine)
    assert scale.scale == 2.0**24


def test_reinforce_learns_from_environments_that_hold_its_policy():
    config = reinforce.Config(env="CartPole-v1", device="cpu", backend="native", num_envs=16, episode_steps=8)
    learner = reinforce.Reinforce(config)
    learner.iterate()
    rollout = learner.collect(8)
    assert torch.allclose(rollout.extras["value"], learner.network.value(rollout.obs), atol=1e-5)
