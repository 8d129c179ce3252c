"""The specifications against the learner's own statistics and plain arithmetic."""

import pytest
import torch

from gpusim.agents.parts.normalize import RunningMeanStd
from gpusim.kernels.moments import discounted_returns, minibatch_moments, update_moments


def test_minibatches_are_cut_as_tensor_split_cuts_them():
    advantage = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [0.0, 0.0, 0.0]])
    order = torch.tensor([0, 2, 3, 8, 7, 6, 5, 4, 1], dtype=torch.int32)
    got = minibatch_moments(advantage, order, 4)  # of 3, 2, 2 and 2
    expected = torch.tensor([[8 / 3, (14 / 9) ** 0.5], [0.0, 0.0], [3.5, 3.5], [3.5, 1.5]])
    torch.testing.assert_close(got, expected)


def test_running_moments_are_the_learners():
    generator = torch.Generator().manual_seed(0)
    oracle = RunningMeanStd((3,))
    mean, var, count = torch.zeros(3).double(), torch.ones(3).double(), torch.zeros(()).double()
    for _ in range(3):
        batch = 5 + torch.randn(4, 3, 6, generator=generator)
        oracle.update(batch.movedim(1, 2))
        update_moments(mean, var, count, batch)
    torch.testing.assert_close((mean, var, count), (oracle.mean, oracle.var, oracle.count))
    assert count == 72


def test_returns_by_hand():
    reward, done = torch.tensor([[1.0], [1.0], [1.0], [1.0]]), torch.tensor([[False], [True], [False], [False]])
    running = torch.tensor([8.0])
    assert discounted_returns(reward, done, running, 0.5)[:, 0].tolist() == [5.0, 3.5, 1.0, 1.5]
    assert running.tolist() == [1.5]
    discounted_returns(reward[:1], torch.tensor([[True]]), running, 0.5)
    assert running.tolist() == [0.0]


def test_what_is_not_finite_is_passed_over():
    mean, var, count = torch.ones(1).double(), torch.ones(1).double(), torch.ones(()).double()
    update_moments(mean, var, count, torch.tensor([[[torch.nan, torch.inf, 5.0]]]))
    torch.testing.assert_close((mean.item(), var.item(), count.item()), (2.0, 3.25, 4.0))
    reward, done = torch.tensor([[1.0], [torch.nan], [1.0]]), torch.zeros(3, 1, dtype=torch.bool)
    assert discounted_returns(reward, done, torch.zeros(1), 0.5)[:, 0].tolist() == [1.0, 0.5, 1.25]


def test_refusals():
    with pytest.raises(ValueError, match="3 advantages cannot be cut into 4"):
        minibatch_moments(torch.zeros(3), torch.arange(3).int(), 4)
    with pytest.raises(ValueError, match="order must be"):
        minibatch_moments(torch.zeros(3), torch.arange(3), 1)
    with pytest.raises(ValueError, match="mean must be"):
        update_moments(torch.zeros(2), torch.ones(2).double(), torch.zeros(()).double(), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="done must be"):
        discounted_returns(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3), 0.9)
