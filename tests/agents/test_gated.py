"""The cells: against torch's own, against one step at a time, and across beginnings of episodes at every place."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from gpusim import InputError
from gpusim.agents.parts.gated import CELLS, MinGru, Remembering, RememberingQ, scan
from gpusim.agents.parts.recurrent import Recurrent
from gpusim.tree import tree_map

T, N = 13, 5
each_cell = pytest.mark.parametrize("cell", CELLS)
VECTORS, IMAGES = Box(-9.0, 9.0, (3,), np.float32), Box(0, 1, (5, 6, 2), np.bool_)


def network(cell, space=VECTORS, shared=False, hidden=(8,), actions=None):
    args = (space, actions or Discrete(3), hidden, "tanh", False, 0.0, torch.Generator().manual_seed(1))
    made = Remembering(*args, cell=cell, units=6, shared=shared)
    with torch.no_grad():  # so that every weight has a part in what comes out
        for p in made.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(2)), alpha=0.3)
    return made


def seen(space=VECTORS, steps=T):
    draw = torch.Generator().manual_seed(3)
    if space is IMAGES:
        return torch.rand(steps, N, *space.shape, generator=draw) < 0.3
    return torch.randn(steps, N, *space.shape, generator=draw)


def begun(*places):
    flags = torch.zeros(T, N, dtype=torch.bool)
    for t, i in places:
        flags[t, i] = True
    return flags


def begins():
    """Nowhere; everywhere; at each step of one environment, while it goes on in the others; at some by chance."""
    yield begun()
    yield ~begun()
    yield from (begun((t, t % N)) for t in range(T))
    yield torch.rand(T, N, generator=torch.Generator().manual_seed(4)) < 0.3


def anywhere(made):
    """A state in the midst of an episode."""
    return tree_map(torch.randn_like, made.initial_state(N, torch.device("cpu")))


@each_cell
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("space", [VECTORS, IMAGES], ids=["vectors", "images"])
def test_unrolled_is_stepped(cell, space, shared):
    made, obs = network(cell, space, shared), seen(space)
    assert isinstance(made, Recurrent)
    for first in begins():
        state = start = anywhere(made)
        distribution, value, states = made.unroll(obs, start, first)
        assert value.shape == (T, N)
        for t in range(T):
            one, each, after = made.unroll(obs[t : t + 1], state, first[t : t + 1])
            state = tree_map(lambda x: x[0], after)
            torch.testing.assert_close(one.logits[0], distribution.logits[t], atol=1e-5, rtol=0)
            torch.testing.assert_close(each[0], value[t], atol=1e-5, rtol=0)
            for got, expected in zip(state, states, strict=True):
                torch.testing.assert_close(got, expected[t], atol=1e-5, rtol=0)


@each_cell
def test_what_was_before_an_episode_changes_nothing_in_it(cell):
    """Neither what comes out nor the gradient; what is before of the others does."""
    made, obs, first = network(cell), seen(), begun((6, 2))
    other = obs.clone()
    other[:6] += 1.0
    one, another = (made.unroll(x, anywhere(made), first)[1] for x in (obs, other))
    assert torch.equal(one[6:, 2], another[6:, 2])
    assert not torch.equal(one[6:, 3], another[6:, 3])
    asked = obs.clone().requires_grad_()
    made.unroll(asked, anywhere(made), first)[1][-1].sum().backward()
    assert asked.grad[6:, 2].ne(0).all()
    assert asked.grad[:6, 2].eq(0).all()
    assert asked.grad[:6, 3].ne(0).any()


def test_a_state_that_is_none_ends_with_its_episode():
    made, first = network("gru"), begun((0, 1))
    broken = (torch.full((N, 2, 6), torch.nan),)
    value = made.unroll(seen(), broken, first)[1]
    assert value[:, 1].isfinite().all()
    assert value[:, 0].isnan().all()


@pytest.mark.parametrize(
    ("cell", "theirs", "order"), [("gru", torch.nn.GRU, (0, 1, 2)), ("lstm", torch.nn.LSTM, (0, 1, 3, 2))]
)
def test_cells_are_torchs(cell, theirs, order):
    """`order`: where torch has each gate of ours."""
    made = CELLS[cell](1, 3, 6, torch.Generator().manual_seed(0))
    torchs, x = theirs(3, 6), seen()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(5)) * 0.7)
        ours = (made.weight[0].T, made.recurrent[0].T, made.bias[0, 0], made.recurrent_bias[0, 0])
        for their, our in zip(torchs.parameters(), ours, strict=True):
            their.copy_(torch.cat([our.split(6)[gate] for gate in order]))
    states = made(x.unsqueeze(1), made.empty(N, x.device), begun())
    torch.testing.assert_close(states[0].squeeze(2), torchs(x)[0], atol=1e-6, rtol=1e-5)


def test_the_minimal_unit_by_hand():
    """h = (1 - z) h + z W x, z = σ(V x + b), of one unit and one input."""
    made = MinGru(1, 1, 1, torch.Generator())
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[[2.0, -3.0]]]))
        made.bias.copy_(torch.tensor([[[0.5, 0.25]]]))
    x, h, expected = [0.3, -0.8, 1.1], 0.7, []
    for number in x:
        z = 1 / (1 + np.exp(-(2 * number + 0.5)))
        h = (1 - z) * h + z * (-3 * number + 0.25)
        expected.append(h)
    got = made(torch.tensor(x).view(3, 1, 1, 1), (torch.full((1, 1, 1), 0.7),), torch.zeros(3, 1, dtype=torch.bool))
    torch.testing.assert_close(got[0].flatten().tolist(), expected)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 31])
def test_the_scan_is_the_loop(steps):
    keep, add = torch.rand(steps, 4, dtype=torch.float64), torch.randn(steps, 4, dtype=torch.float64)
    h, expected = torch.zeros(4, dtype=torch.float64), []
    for k, a in zip(keep, add, strict=True):
        h = k * h + a
        expected.append(h)
    torch.testing.assert_close(scan(keep, add), torch.stack(expected))


def test_actor_and_critic_remember_apart_or_together():
    apart, shared = network("gru"), network("gru", shared=True)
    assert apart.initial_state(N, torch.device("cpu"))[0].shape == (N, 2, 6)
    assert shared.initial_state(N, torch.device("cpu"))[0].shape == (N, 1, 6)
    for made, alike in ((apart, False), (shared, True)):
        made.zero_grad()
        made.unroll(seen(), anywhere(made), begun())[1].sum().backward()
        assert bool(made.cell.weight.grad[0].any()) is alike, "the critic's gradient reaches the actor's memory"
        assert made.cell.weight.grad[-1].any()


def test_action_values_have_no_critic():
    made = RememberingQ(
        VECTORS, Discrete(3), (8,), "relu", False, False, torch.Generator(), cell="lstm", units=6, shared=True
    )
    distribution, value, _ = made.unroll(seen(), made.initial_state(N, torch.device("cpu")), begun())
    torch.testing.assert_close(value, distribution.q.amax(-1))
    value.sum().backward()
    trained = set(map(id, made.trained()))
    assert {name for name, p in made.named_parameters() if id(p) not in trained} == {"critic.0.weight", "critic.0.bias"}
    assert all(p.grad is not None for p in made.trained())


def test_an_observation_alone_is_refused():
    made = network("gru")
    for ask in (made, made.value, made.distribution):
        with pytest.raises(InputError, match="unrolled from a state"):
            ask(torch.zeros(N, 3))
