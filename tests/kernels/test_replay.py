"""The replay ring against lists: what is held, which places can be drawn and how often, and returns of n steps."""

import math

import pytest
import torch

from gpusim.kernels.launch import recording
from gpusim.kernels.replay import (
    Form,
    Priorities,
    Transitions,
    draw_prioritized,
    draw_uniform,
    full_ring,
    insert,
    n_step_return,
    pack,
    played,
    sample_prioritized,
    sample_uniform,
    unpack,
    update_priorities,
)

VECTOR = Form((3,), torch.float32)
BOARD = Form((3, 3, 2), torch.bool)


def u(*values):
    return torch.tensor(values, dtype=torch.float64)


def number(value):
    return torch.tensor(value)


def uniform(n, seed=0):
    return torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def empty_ring(size, form=VECTOR, numbers=0):
    """What is not yet written is absurd."""
    shape, dtype = form.stored
    obs, flags = torch.full((2, size, *shape), 77, dtype=dtype), torch.ones(2, size, dtype=torch.bool)
    action = torch.full((size, numbers), torch.nan) if numbers else torch.full((size,), 99, dtype=torch.uint8)
    return Transitions(*obs, action, torch.full((size,), torch.nan), *flags)


# ---------------------------------------------------------------------------------------------------------- insert


@pytest.mark.parametrize("form", [VECTOR, BOARD], ids=["vector", "board"])
@pytest.mark.parametrize("numbers", [0, 1, 3])
@pytest.mark.parametrize(("size", "parts"), [(6, [2, 2, 2, 2]), (12, [4, 8, 12, 4, 4]), (5, [5, 5]), (7, [3, 1, 6])])
def test_the_ring_holds_the_youngest(size, parts, numbers, form):
    ring, count, put = empty_ring(size, form, numbers), number(0), 0
    for new in parts:
        steps = played(1, new, form, put, numbers)
        insert(ring, steps, count)
        place = [x % size for x in range(put, put + new)]
        put += new
        assert count.item() == put
        held = sorted(int(x) for x in ring.reward.tolist() if x == x)
        assert held == list(range(max(0, put - size), put))
        for kept, step in zip(ring, steps, strict=True):
            given = step.flatten(0, 1)
            kept = unpack(kept[place], form.shape) if given.dtype == torch.bool and given.ndim > 1 else kept[place]
            assert torch.equal(kept, given.to(kept.dtype))


def test_more_than_the_ring_is_refused():
    with pytest.raises(ValueError, match="9 transitions do not fit into a ring of 8"):
        insert(empty_ring(8), played(3, 3), number(0))
    priorities = Priorities(torch.zeros(8), number(1.0))
    with pytest.raises(ValueError, match="9 transitions"):
        insert(empty_ring(8), played(2, 3), number(0), priorities, 3)


@pytest.mark.parametrize("late", [0, 1, 6, 18, 24])
def test_what_has_not_its_steps_yet_has_no_priority(late):
    ring, count, priorities = empty_ring(66), number(0), Priorities(torch.full((66,), 0.5), number(3.5))
    for i, steps in enumerate((3, 7, 4, 7)):
        insert(ring, played(steps, 6, VECTOR, 100 * i), count, priorities, late)
    youngest = [x % 66 for x in range(126 - late, 126)]
    assert (priorities.value[youngest] == 0).all()
    assert (priorities.value == 3.5).sum() == 66 - late


def test_bits_by_hand():
    cells = torch.tensor([[1, 0, 0, 1, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]).bool()
    assert pack(cells).tolist() == [[1 + 8 + 128, 1], [0, 2]]
    assert torch.equal(unpack(pack(cells), (2, 5)), cells.view(2, 2, 5))


@pytest.mark.parametrize("cells", [1, 7, 8, 9, 400, 1001])
def test_bits_come_out_as_they_went_in(cells):
    board = torch.rand(37, cells, generator=torch.Generator().manual_seed(0)) < 0.3
    assert pack(board).shape == (37, -(-cells // 8))
    assert torch.equal(unpack(pack(board), (cells,)), board)


def test_what_a_form_keeps():
    assert Form((10, 10, 4), torch.bool).stored == ((50,), torch.uint8)
    assert Form((84, 84, 4), torch.uint8).stored == ((84, 84, 4), torch.uint8)
    assert VECTOR.stored == ((3,), torch.float32)


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


def test_priorities_beyond_all_bounds_are_drawn_from():
    """One that is not 0 keeps a share however small; infinity is the greatest there is; no number is 0."""
    priority = torch.tensor([1e-30, 0.0, torch.inf, torch.nan, 1e30])
    place, probability = draw_prioritized(u(0.0, 1e-11, 0.49, 0.51, 1.0), priority)
    assert place.tolist() == [0, 2, 2, 4, 4]
    assert probability[1:].tolist() == [0.5] * 4
    assert 0 < probability[0] < 1e-11
    place, _ = draw_prioritized(u(0.0, 0.5, 1.0), torch.full((5,), torch.nan))
    assert place.tolist() == [0, 0, 0]  # nothing can be drawn, and nothing outside is looked at


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
    size, count, ring = rows * envs, number(0), empty_ring(rows * envs)
    for t in range(put):
        steps = played(1, envs)
        insert(ring, steps._replace(reward=reward[t, None], terminated=terminated[t, None], done=done[t, None]), count)
    places = draw_uniform(uniform(400), count, size, envs, n)
    returns, discount, last = n_step_return(ring.reward, ring.terminated, ring.done, places, envs, n, 0.9)
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


# --------------------------------------------------------------------------------------------------------- samples


@pytest.mark.parametrize("form", [VECTOR, BOARD, Form((5, 4), torch.uint8)], ids=["vector", "board", "image"])
@pytest.mark.parametrize("numbers", [0, 1, 5])
@pytest.mark.parametrize("prioritized", [False, True])
def test_a_sample_has_what_lies_at_its_place(form, prioritized, numbers):
    ring, count, priority = empty_ring(12, form, numbers), number(0), torch.rand(12)
    history = [played(3, 2, form, 6 * i, numbers) for i in range(3)]
    for steps in history:
        insert(ring, steps, count)
    arguments = (priority, 2, 3, 0.5) if prioritized else (count, 2, 3, 0.5)
    sample = (sample_prioritized if prioritized else sample_uniform)(uniform(50), ring, form, *arguments)
    everything = Transitions(*(torch.cat(x).flatten(0, 1) for x in zip(*history, strict=True)))
    first = ring.reward[sample.place].long()
    last = ring.reward[n_step_return(ring.reward, ring.terminated, ring.done, sample.place, 2, 3, 0.5)[2]].long()
    assert torch.equal(sample.obs, everything.obs[first])
    assert torch.equal(sample.next_obs, everything.next_obs[last])
    assert torch.equal(sample.action, everything.action[first])
    assert sample.obs.dtype == form.dtype
    assert sample.action.dtype == (torch.float32 if numbers else torch.int64)


def test_priorities_by_hand():
    priorities = Priorities(torch.zeros(5), number(1.0))
    update_priorities(priorities, torch.tensor([1, 3]), torch.tensor([-9.0, 0.0]), 0.5)
    assert priorities.value.tolist() == pytest.approx([0.0, 3.0, 0.0, 1e-3, 0.0], rel=1e-4)
    assert priorities.greatest.item() == pytest.approx(3.0)
    update_priorities(priorities, torch.tensor([0]), torch.tensor([0.0]), 0.5)
    assert priorities.greatest.item() == pytest.approx(3.0)  # it only rises


# ------------------------------------------------------------------------------------------------------- launches


def test_launches():
    """One to insert, one to sample uniformly, three to sample by priority."""
    pytest.importorskip("triton", reason="Triton is not installed")
    ring, count, priorities = full_ring(66, BOARD), number(66), Priorities(torch.ones(66), number(1.0))
    with recording() as launches:
        insert(ring, played(3, 6, BOARD), count, priorities, 6)
        sample_uniform(uniform(20), ring, BOARD, count, 6, 2, 0.9)
        sample_prioritized(uniform(20), ring, BOARD, priorities.value, 6, 2, 0.9)
        update_priorities(priorities, torch.arange(20), torch.ones(20), 0.6)
    names = [x.kernel.fn.__name__ for x in launches]
    prioritized = ["weights_kernel", "draw_kernel", "sample_kernel"]
    assert names == ["insert_kernel", "sample_kernel", *prioritized, "update_kernel"]
