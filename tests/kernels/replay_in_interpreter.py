"""Run by test_replay.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

The kernels of the replay give the values of their twins, bit for bit but for a power; what they fill is garbage before.
"""

import os

import pytest
import torch

from gpusim.kernels import replay, replay_triton
from gpusim.kernels.launch import recording
from gpusim.kernels.replay import Form, Priorities, Transitions
from tests.interpreter import quicken
from tests.kernels.test_replay import BOARD, VECTOR, empty_ring, number, played, uniform

assert os.environ["TRITON_INTERPRET"] == "1"
quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out
FORMS = {
    "vector": VECTOR, "number": Form((1,), torch.float32), "board": BOARD, "minatar": Form((10, 10, 4), torch.bool),
    "bytes": Form((7, 5, 3), torch.uint8), "wide": Form((23, 31), torch.uint8),
}  # fmt: skip
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    empty = torch.empty

    def poisoned(*args, **kwargs):
        x = empty(*args, **kwargs)
        return x.fill_(torch.nan if x.is_floating_point() else 1 if x.dtype == torch.bool else 99)

    monkeypatch.setattr(torch, "empty", poisoned)


@pytest.fixture(params=[(512, 1024), (64, 16)], ids=["one part", "many parts"])
def _sizes(request, monkeypatch):
    """Of the parts into which one observation, and the priorities, are cut."""
    monkeypatch.setattr(replay_triton, "WIDEST", request.param[0])
    monkeypatch.setattr(replay_triton, "LANES", request.param[1])


def lane_after_lane(steps):
    """Observations stored as environments give vectors: one entry of all environments beside the other."""
    obs, next_obs = (x.movedim(1, -1).contiguous().movedim(-1, 1) for x in steps[:2])
    return steps._replace(obs=obs, next_obs=next_obs)


def filled(form, size=66, envs=6, parts=(3, 8, 5), prioritized=True, late=0):
    """The same rollouts put into two rings, by kernels and by torch; the ring has wrapped."""
    rings = [empty_ring(size, form) for _ in "ab"]
    counts = [number(0) for _ in "ab"]
    priorities = [Priorities(torch.full((size,), 0.5), number(3.5)) if prioritized else None for _ in "ab"]
    for i, steps in enumerate(parts):
        rollout = played(steps, envs, form, 100 * i)
        rollout = lane_after_lane(rollout) if i % 2 else rollout
        for insert, ring, count, priority in zip(
            (replay.insert, replay.insert_torch), rings, counts, priorities, strict=True
        ):
            insert(ring, rollout, count, priority, late)
    return rings, counts, priorities


@pytest.mark.usefixtures("_sizes")
@each_form
def test_insert(form):
    rings, counts, _ = filled(form)
    assert counts[0] == counts[1] == 96
    for ours, theirs in zip(*rings, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("late", [0, 1, 6, 18, 24])
def test_insert_with_priorities(late):
    _, _, (ours, theirs) = filled(VECTOR, late=late, parts=(3, 7, 4, 7))
    assert torch.equal(ours.value, theirs.value)
    assert (ours.value == 0).sum() == late
    first = filled(VECTOR, late=late, parts=(2,))[2]
    assert torch.equal(first[0].value, first[1].value)


def test_insert_fills_the_whole_ring_and_takes_other_strides():
    rings, _, _ = filled(BOARD, parts=(11, 11))
    assert all(torch.equal(a, b) for a, b in zip(*rings, strict=True))
    steps = played(5, 6, VECTOR)
    steps = steps._replace(next_obs=lane_after_lane(steps).next_obs, action=steps.action.T.contiguous().T.int())
    for insert, ring in zip((replay.insert, replay.insert_torch), rings := [empty_ring(30) for _ in "ab"], strict=True):
        insert(ring, steps, number(17))
    assert all(torch.equal(a, b) for a, b in zip(*rings, strict=True))


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize(("n_step", "batch"), [(1, 1), (3, 37), (10, 70)])
@each_form
def test_sample_uniform(form, n_step, batch):
    (ring, _), (count, _), _ = filled(form)
    u = torch.cat([torch.tensor([0.0]).double(), uniform(batch)])[:batch]
    arguments = (u, ring, form, count, 6, n_step, 0.97)
    equal(replay.sample_uniform(*arguments), replay.sample_uniform_torch(*arguments))


def test_sample_from_a_ring_that_is_not_full():
    (ring, _), (count, _), _ = filled(VECTOR, parts=(4,))
    for gamma in (0.0, 1.0, 0.9):
        arguments = (uniform(200), ring, VECTOR, count, 6, 4, gamma)
        ours = replay.sample_uniform(*arguments)
        equal(ours, replay.sample_uniform_torch(*arguments))
        assert ours.place.max() < 6


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("form", [VECTOR, BOARD], ids=["vector", "board"])
def test_sample_prioritized(form):
    (ring, _), _, (priorities, _) = filled(form, late=12)
    priorities.value.mul_(torch.rand(66, generator=torch.Generator().manual_seed(5)))
    arguments = (uniform(40), ring, form, priorities.value, 6, 3, 0.97)
    equal(replay.sample_prioritized(*arguments), replay.sample_prioritized_torch(*arguments))


def equal(ours, theirs):
    for name, a, b in zip(ours._fields, ours, theirs, strict=True):
        assert a.dtype == b.dtype, name
        assert torch.equal(a, b), name


NUMBERS = torch.Generator().manual_seed(3)
EDGES = {
    "one": torch.tensor([0.3]),
    "first alone": torch.eye(1, 100)[0],
    "last alone": torch.eye(1, 100)[0].flip(0),
    "ones": torch.ones(257),
    "gaps": torch.rand(1000, generator=NUMBERS) * (torch.rand(1000, generator=NUMBERS) < 0.05),
    "far apart": 10.0 ** (torch.rand(1000, generator=NUMBERS) * 60 - 30),
    "not finite": torch.tensor([1e-30, 0.0, torch.inf, torch.nan, 1e30]),
    "none": torch.full((40,), torch.nan),
    "a round number": torch.rand(4096, generator=NUMBERS),
}


@pytest.mark.usefixtures("_sizes")
@pytest.mark.parametrize("priority", EDGES.values(), ids=EDGES)
def test_draw_prioritized(priority):
    u = torch.cat([torch.tensor([0.0, 0.25, 0.5, 1 - 2.0**-53, 1.0]).double(), uniform(20)])
    place, probability = torch.full((25,), -7), torch.full((25,), -7.0)
    replay_triton.draw_prioritized_triton(u, priority, place, probability)
    wanted = replay.draw_prioritized(u, priority)
    assert torch.equal(place, wanted[0])
    torch.testing.assert_close(probability, wanted[1], rtol=0, atol=0, equal_nan=True)


def test_draw_among_a_million():
    """And at the borders of the blocks, where a sum that was rounded would fall on the other side."""
    priority = torch.rand(1_000_000, generator=torch.Generator().manual_seed(9)) ** 8
    upto = replay._weight(priority).cumsum(0)
    borders = upto[1023::150_000] / upto[-1]
    u = torch.cat([borders, borders.nextafter(torch.zeros(1).double()), uniform(20)])
    place, probability = torch.full((len(u),), -7), torch.full((len(u),), -7.0)
    replay_triton.draw_prioritized_triton(u, priority, place, probability)
    wanted = replay.draw_prioritized(u, priority)
    assert torch.equal(place, wanted[0])
    assert torch.equal(probability, wanted[1])


@pytest.mark.parametrize("batch", [1, 37, 300])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_update_priorities(batch, alpha):
    place = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:batch]
    error = torch.randn(batch, generator=torch.Generator().manual_seed(1)) * 10
    error[0] = 0.0
    ours, theirs = (Priorities(torch.full((500,), 0.25), number(0.5)) for _ in "ab")
    replay.update_priorities(ours, place, error, alpha)
    replay.update_priorities_torch(theirs, place, error, alpha)
    torch.testing.assert_close(ours.value, theirs.value, rtol=2e-6, atol=1e-9)
    torch.testing.assert_close(ours.greatest, theirs.greatest, rtol=2e-6, atol=0)
    assert (ours.value == 0.25).sum() == 500 - batch
    replay.update_priorities(ours, place, torch.zeros(batch), alpha)
    assert ours.greatest >= theirs.greatest * (1 - 2e-6)  # it only rises


def test_launches():
    rings, counts, priorities = filled(BOARD)
    ring, count, priority = rings[0], counts[0], priorities[0]
    with recording() as launches:
        replay.insert(ring, played(3, 6, BOARD), count, priority, 6)
        replay.sample_uniform(uniform(20), ring, BOARD, count, 6, 2, 0.9)
        replay.sample_prioritized(uniform(20), ring, BOARD, priority.value, 6, 2, 0.9)
        replay.update_priorities(priority, torch.arange(20), torch.ones(20), 0.6)
    names = [x.kernel.fn.__name__ for x in launches]
    prioritized = ["weights_kernel", "draw_kernel", "sample_kernel"]
    assert names == ["insert_kernel", "sample_kernel", *prioritized, "update_kernel"]
    assert isinstance(ring, Transitions)
