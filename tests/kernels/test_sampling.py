"""Sampling: the specifications against torch's distributions and their own frequencies."""

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from gpusim.kernels.sampling import categorical, gaussian

SEED, CLOCK = torch.tensor(2**40 + 7), torch.tensor(2**33 + 11)


def logits(n, actions, seed=0):
    return 2 * torch.randn(n, actions, generator=torch.Generator().manual_seed(seed))


def normal(n, entries, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, entries, generator=generator), torch.linspace(-1.5, 0.5, entries)


@pytest.mark.parametrize("actions", [1, 2, 3, 18])
def test_categorical_probabilities(actions):
    given = logits(50, actions)
    drawn, truth = categorical(given, SEED, torch.arange(50), CLOCK), Categorical(logits=given)
    assert drawn.sample.dtype == torch.int32
    torch.testing.assert_close(drawn.log_prob, truth.log_prob(drawn.sample), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(drawn.entropy, truth.entropy(), atol=2e-6, rtol=1e-5)


def test_categorical_frequencies():
    shares = torch.tensor([0.2, 0.0, 0.5, 0.3])
    sample = categorical(shares.log().expand(200_000, 4), SEED, torch.arange(200_000), CLOCK).sample
    assert torch.bincount(sample, minlength=4).tolist() == pytest.approx((200_000 * shares).tolist(), abs=4 * 224)
    assert (sample != 1).all()


def test_the_rarest_action_is_reached_and_none_beyond():
    """The uniform number is below 1 even where it is rounded: no sample lies outside."""
    given = torch.zeros(100_000, 7)
    sample = categorical(given, SEED, torch.arange(100_000), CLOCK).sample
    assert sample.unique().tolist() == list(range(7))


@pytest.mark.parametrize("entries", [1, 2, 3, 5])
def test_gaussian_densities(entries):
    mean, log_std = normal(60, entries)
    drawn, truth = gaussian(mean, log_std, SEED, torch.arange(60), CLOCK), Independent(Normal(mean, log_std.exp()), 1)
    torch.testing.assert_close(drawn.log_prob, truth.log_prob(drawn.sample), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(drawn.entropy, truth.entropy(), atol=1e-5, rtol=1e-5)


def test_gaussian_moments():
    n = 200_000
    sample = gaussian(torch.zeros(n, 5), torch.zeros(5), SEED, torch.arange(n), CLOCK).sample
    torch.testing.assert_close(sample.mean(0), torch.zeros(5), atol=0.01, rtol=0)
    torch.testing.assert_close(torch.cov(sample.T), torch.eye(5), atol=0.02, rtol=0)
    torch.testing.assert_close(sample.pow(4).mean(0), torch.full((5,), 3.0), atol=0.1, rtol=0)


def test_log_std_is_kept_in_its_range():
    drawn = gaussian(torch.zeros(4, 2), torch.tensor([-50.0, 50.0]), SEED, torch.arange(4), CLOCK)
    assert drawn.sample[:, 0].abs().max() < 0.1
    assert drawn.sample[:, 1].abs().max() < 60


def test_a_draw_belongs_to_its_environment_and_step():
    given = logits(9, 4)
    whole = gaussian(given, torch.zeros(4), SEED, torch.arange(9), CLOCK).sample
    part = gaussian(given[5:], torch.zeros(4), SEED, torch.arange(5, 9), CLOCK).sample
    assert torch.equal(whole[5:], part)
    for other in ((SEED + 1, CLOCK), (SEED, CLOCK + 1), (SEED, CLOCK + 2**32)):
        assert (gaussian(given, torch.zeros(4), other[0], torch.arange(9), other[1]).sample != whole).all()
