"""The order is a permutation, another for every key, and no place is preferred."""

import pytest
import torch

from gpusim.kernels.shuffle import domain_bits, shuffle


def key(x):
    return torch.tensor(x, dtype=torch.int64)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 31, 32, 33, 1000, 4096, 5000])
def test_is_a_permutation(size):
    order = shuffle(size, key(2**62 + 11), key(3))
    assert order.dtype == torch.int32
    assert torch.equal(order.sort().values, torch.arange(size, dtype=torch.int32))


def test_the_domain_is_at_most_twice_as_large():
    assert [domain_bits(n) for n in (1, 2, 4, 5, 8, 9, 4096, 4097)] == [2, 2, 2, 3, 3, 4, 12, 13]


def test_every_key_has_its_own_order_and_the_same_again():
    keys = [(0, 0), (0, 1), (1, 0), (2**32, 0), (0, 2**31)]
    orders = [tuple(shuffle(100, key(s), key(c)).tolist()) for s, c in keys]
    assert len(set(orders)) == len(keys)
    assert tuple(shuffle(100, key(0), key(0)).tolist()) == orders[0]


@pytest.mark.parametrize("size", [6, 13, 32])
def test_each_number_is_as_often_in_each_place(size):
    """χ² over places × numbers, (n − 1)² degrees of freedom, within five deviations of its mean."""
    draws = 1500
    counts = torch.zeros(size, size)
    for c in range(draws):
        counts[torch.arange(size), shuffle(size, key(7), key(c)).long()] += 1
    chi2 = ((counts - draws / size) ** 2 / (draws / size)).sum().item()
    freedom = (size - 1) ** 2
    assert abs(chi2 - freedom) < 5 * (2 * freedom) ** 0.5


def test_neighbours_do_not_stay_neighbours():
    """Of 4,096 neighbouring pairs, about two are neighbours again in a random order."""
    order = shuffle(4096, key(5), key(1)).long()
    assert (order.diff().abs() == 1).sum() < 12


def test_refusals():
    with pytest.raises(ValueError, match="size is 0"):
        shuffle(0, key(0), key(0))
    with pytest.raises(ValueError, match="0-dim int64"):
        shuffle(5, torch.zeros(1), key(0))
    with pytest.raises(ValueError, match=r"int32 \[5\]"):
        shuffle(5, key(0), key(0), torch.empty(5))
