"""The replay on the device: each kernel against its twin there, and DQN's iteration as CUDA graphs."""

import pytest
import torch

from gpusim.agents.dqn import DQN, Config
from gpusim.kernels import replay, replay_triton
from gpusim.kernels.replay import Form, Priorities, Transitions
from tests.kernels.test_replay import empty_ring, played, uniform

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")]
FORMS = {
    "vector": Form((4,), torch.float32), "board": Form((10, 10, 4), torch.bool), "odd": Form((3, 3, 5), torch.bool),
    "bytes": Form((84, 84, 4), torch.uint8),
}  # fmt: skip
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def cuda(x):
    return type(x)(*(y.cuda() for y in x)) if isinstance(x, tuple) else x.cuda()


def same(ours, theirs):
    for name, a, b in zip(ours._fields, ours, theirs, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("late", [0, 99, 198])
@each_form
def test_insert(form, late):
    """A ring of 33 places for each of 99 environments, which wraps."""
    made = []
    for insert in (replay.insert, replay.insert_torch):
        ring, count = cuda(empty_ring(33 * 99, form)), torch.tensor(0, device="cuda")
        priorities = cuda(Priorities(torch.full((33 * 99,), 0.5), torch.tensor(3.5)))
        for i in range(5):
            insert(ring, cuda(played(8, 99, form, 1000 * i)), count, priorities, late)
        assert count == 5 * 8 * 99
        made.append(Transitions(*ring)._asdict() | priorities._asdict())
    for name in made[0]:
        torch.testing.assert_close(made[0][name], made[1][name], rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize(("n_step", "batch"), [(1, 4096), (3, 257), (10, 1)])
@each_form
def test_sample(form, n_step, batch):
    ring, count = cuda(empty_ring(33 * 99, form)), torch.tensor(0, device="cuda")
    for i in range(5):
        replay.insert(ring, cuda(played(8, 99, form, 1000 * i)), count)
    u, settings = uniform(batch).cuda(), (99, n_step, 0.97)
    same(
        replay.sample_uniform(u, ring, form, count, *settings),
        replay.sample_uniform_torch(u, ring, form, count, *settings),
    )
    priority = torch.rand(33 * 99, generator=torch.Generator().manual_seed(0)).cuda() ** 4
    same(
        replay.sample_prioritized(u, ring, form, priority, *settings),
        replay.sample_prioritized_torch(u, ring, form, priority, *settings),
    )


@pytest.mark.parametrize("size", [1, 1000, 1_000_000, 5_000_001])
def test_draw_prioritized(size):
    """Bit for bit, also on the CPU."""
    generator = torch.Generator().manual_seed(size)
    priority = torch.rand(size, generator=generator) ** 8 * (torch.rand(size, generator=generator) < 0.7)
    priority[size // 2] = 0.3
    u = torch.cat([torch.tensor([0.0, 1.0]).double(), uniform(4094)])
    place, probability = torch.full((4096,), -7, device="cuda"), torch.full((4096,), torch.nan, device="cuda")
    replay_triton.draw_prioritized_triton(u.cuda(), priority.cuda(), place, probability)
    wanted = replay.draw_prioritized(u, priority)
    assert torch.equal(place.cpu(), wanted[0])
    assert torch.equal(probability.cpu(), wanted[1])


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_update_priorities(alpha):
    place = torch.randperm(5000)[:999].cuda()
    error = torch.randn(999).cuda() * 10
    ours, theirs = (cuda(Priorities(torch.full((5000,), 0.25), torch.tensor(0.5))) for _ in "ab")
    replay.update_priorities(ours, place, error, alpha)
    replay.update_priorities_torch(theirs, place, error, alpha)
    torch.testing.assert_close(tuple(ours), tuple(theirs), rtol=1e-5, atol=1e-7)


SETTINGS = {
    "num_envs": 256, "num_steps": 8, "total_steps": 2048 * 40, "learning_starts": 6144, "batch_size": 64,
    "capacity": 10_000, "hidden": (32, 32), "replay_ratio": 1 / 800, "device": "cuda",
}  # fmt: skip
KINDS = {
    "plain": {"env": "CartPole-v1"},
    "all": {"env": "CartPole-v1", "dueling": True, "n_step": 3, "prioritized": True, "normalize_obs": True},
    "images": {"env": "MinAtar/Breakout-v1", "n_step": 2},
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


@each_kind
def test_an_iteration_is_captured_and_waits_for_nothing(changes, request):
    """A warning that a capture failed is an error here; there are 0, 2 or 3 updates in an iteration."""
    learner = DQN(Config(**SETTINGS | changes))
    while len(learner.graphed.captured) < 3 or any(c.calls < 2 for c in learner.graphed.captured.values()):
        learner.iterate()
        assert learner.iteration < 30
    assert all(c.graph is not None for c in learner.graphed.captured.values())
    request.getfixturevalue("no_sync")
    for _ in range(4):
        metrics = learner.iterate()
    torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in metrics.values())


@each_kind
def test_graphs_do_what_single_launches_do(changes):
    """The same numbers are drawn; by priority, which rounding may change, not always the same transitions."""
    captured, plain = (DQN(Config(**SETTINGS | changes)) for _ in "ab")
    plain.graphed.wanted = False
    for _ in range(6):
        for learner in (captured, plain):
            learner.iterate()
    assert captured.optimizer.steps == plain.optimizer.steps > 0
    apart = 5e-3 if captured.config.prioritized else 1e-3
    torch.testing.assert_close(captured.optimizer.flat, plain.optimizer.flat, rtol=1e-2, atol=apart)
    assert torch.equal(captured.replay.count, plain.replay.count)
