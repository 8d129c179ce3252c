"""The replay ring against lists: what is held, which places can be drawn and how often, and returns of n steps."""

import math

import pytest
import torch

from gpusim.kernels.replay import draw_prioritized, draw_uniform, insert, n_step_return


def u(*values):
    return torch.tensor(values, dtype=torch.float64)


def number(value):
    return torch.tensor(value)


def uniform(n, seed=0):
    return torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------------------- insert


@pytest.mark.parametrize(("size", "parts"), [(6, [2, 2, 2, 2]), (12, [4, 8, 12, 4, 4]), (5, [5, 5]), (7, [3, 1, 6])])
def test_the_ring_holds_the_youngest(size, parts):
    ring = (torch.full((size,), -1), torch.full((size, 2), -1.0))
    count, put = number(0), 0
    for new in parts:
        steps = torch.arange(put, put + new)
        place = insert(ring, (steps, steps[:, None].expand(new, 2).float()), count)
        put += new
        assert place.tolist() == [x % size for x in steps.tolist()]
        assert count.item() == put
        held = sorted(x for x in ring[0].tolist() if x >= 0)
        assert held == list(range(max(0, put - size), put))
        assert torch.equal(ring[1], ring[0][:, None].expand(size, 2).float())


def test_more_than_the_ring_is_refused():
    with pytest.raises(ValueError, match="9 transitions do not fit into a ring of 8"):
        insert((torch.zeros(8),), (torch.zeros(9),), number(0))


# ----------------------------------------------------------------------------------------------------------- draws


@pytest.mark.parametrize(("put", "size", "envs", "n"), [(6, 12, 2, 1), (6, 12, 2, 3), (12, 12, 2, 2), (20, 12, 2, 3)])
def test_a_uniform_draw_gives_each_complete_step_its_share(put, size, envs, n):
    """Complete: its n - 1 younger steps of the same environment are held. None is drawn across the seam."""
    complete = [x % size for x in range(max(0, put - size), put - (n - 1) * envs)]
    drawn = draw_uniform(uniform(60_000), number(put), size, envs, n).bincount(minlength=size) / 60_000
    expected = torch.zeros(size)
    expected[complete] = 1 / len(complete)
    torch.testing.assert_close(drawn, expected, atol=0.008, rtol=0)
    assert set(drawn.nonzero().flatten().tolist()) == set(complete)


def test_the_ends_of_a_uniform_draw():
    ends = u(0.0, math.nextafter(1.0, 0.0))
    assert draw_uniform(ends, number(20), 12, 2, 3).tolist() == [8, 15 % 12]  # held are 8 to 19; 16 to 19 are too young


def test_a_prioritized_draw_by_hand():
    """Priorities 1, 0, 2, 1, 0: sums 1, 1, 3, 4, 4."""
    priority = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0])
    place, probability = draw_prioritized(u(0.0, 0.24, 0.25, 0.74, 0.75, 1.0), priority)
    assert place.tolist() == [0, 0, 2, 2, 3, 3]
    assert probability.tolist() == [0.25, 0.25, 0.5, 0.5, 0.25, 0.25]


def test_prioritized_draws_have_the_frequencies_they_should():
    priority = torch.rand(37, generator=torch.Generator().manual_seed(1)) * (torch.arange(37) % 3 > 0)
    place, probability = draw_prioritized(uniform(200_000), priority)
    torch.testing.assert_close(place.bincount(minlength=37) / 200_000, priority / priority.sum(), atol=0.003, rtol=0)
    torch.testing.assert_close(probability, priority[place] / priority.sum())


def test_a_million_priorities_lose_nothing():
    """In float32 the sum of a million ones and a thousandth each would stop short."""
    priority = torch.full((1_000_000,), 1.001)
    priority[-1] = 1e-3
    place, _ = draw_prioritized(u(0.0, 0.5, 1.0 - 1e-12), priority)
    assert place[0] == 0
    assert abs(place[1].item() - 500_000) <= 1
    assert place[2] == 999_999


# ---------------------------------------------------------------------------------------------------- n-step returns


def test_n_step_returns_by_hand():
    """γ = ½, one environment, rewards 1, 2, 4, 8, 16; step 1 truncated, step 3 terminated; n = 3.

    From 0: 1 + ½ · 2 = 2, cut after step 1, which bootstraps by ¼. From 1: 2, by ½. From 2: 4 + ½ · 8 = 8, not at all.
    """
    reward = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    terminated = torch.tensor([False, False, False, True, False, False])
    done = torch.tensor([False, True, False, True, False, False])
    place = torch.tensor([0, 1, 2, 3])
    returns, discount, last = n_step_return(reward, terminated, done, place, 1, 3, 0.5)
    assert returns.tolist() == [2.0, 2.0, 8.0, 8.0]
    assert discount.tolist() == [0.25, 0.5, 0.0, 0.0]
    assert last.tolist() == [1, 1, 3, 3]


def test_a_window_that_nothing_ends_has_n_steps():
    nothing = torch.zeros(4, dtype=torch.bool)
    found = n_step_return(torch.ones(4), nothing, nothing, torch.tensor([0]), 1, 4, 0.5)
    assert [x.item() for x in found] == [1.875, 0.0625, 3]


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(("envs", "rows", "put"), [(1, 8, 30), (3, 7, 7), (3, 7, 12), (4, 16, 50)])
def test_n_step_returns_against_lists(n, envs, rows, put):
    """Endless histories of each environment, put into a ring that wraps; every place that can be drawn is looked at."""
    generator = torch.Generator().manual_seed(n)
    reward = torch.randn(put, envs, generator=generator)
    terminated, truncated = torch.rand(2, put, envs, generator=generator) < 0.15
    done = terminated | truncated
    size, count = rows * envs, number(0)
    ring = (torch.zeros(size), torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool))
    for t in range(put):
        insert(ring, (reward[t], terminated[t], done[t]), count)
    places = draw_uniform(uniform(400), count, size, envs, n)
    returns, discount, last = n_step_return(*ring, places, envs, n, 0.9)
    oldest = put - min(put, rows)
    for i, place in enumerate(places.tolist()):
        e = place % envs
        t = next(t for t in range(oldest, put) if (t * envs + e) % size == place)
        total, steps = 0.0, 0
        for k in range(n):
            assert t + k < put
            total += 0.9**k * reward[t + k, e].item()
            steps = k + 1
            if done[t + k, e]:
                break
        end = t + steps - 1
        assert returns[i].item() == pytest.approx(total, abs=1e-5)
        assert discount[i].item() == pytest.approx(0.0 if terminated[end, e] else 0.9**steps, abs=1e-6)
        assert last[i].item() == (end * envs + e) % size
