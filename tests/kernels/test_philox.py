"""The generator: published answers, three implementations that agree, and numbers that look random."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpusim.kernels import philox as module
from gpusim.kernels.lang import STREAM_ACTION, STREAM_STEP, Rng, uniform, uniform4, words
from gpusim.kernels.philox import philox

WORD = st.integers(0, 2**32 - 1)

KNOWN = [  # counter, key, words: Random123's known-answer vectors for philox4x32-10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def signed(key):
    """The key as the int64 that a tensor holds; `philox` takes only seeds below 2**63, its inner functions any."""
    value = key[0] | key[1] << 32
    return value - 2**64 if value >= 2**63 else value


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
@pytest.mark.parametrize("function", [module._philox_int64, module._philox_numpy], ids=["int64", "numpy"])
def test_known_answers(function, counter, key, expected):
    got = function(signed(key), *(torch.tensor([c]) for c in counter))
    assert tuple(int(word[0]) for word in got) == expected


@given(seed=st.integers(0, 2**63 - 1), counter=st.tuples(WORD, WORD, WORD, WORD))
def test_numpy_is_int64(seed, counter):
    tensors = [torch.tensor([c, c ^ 1]) for c in counter]
    fast, plain = module._philox_numpy(seed, *tensors), module._philox_int64(torch.tensor(seed), *tensors)
    assert [w.tolist() for w in fast] == [w.tolist() for w in plain]
    for public in (philox(seed, *tensors), philox(seed, *(t.numpy() for t in tensors))):
        assert [w.tolist() for w in public] == [w.tolist() for w in plain]


@pytest.mark.parametrize("function", [module._philox_int64, module._philox_numpy], ids=["int64", "numpy"])
def test_counters_broadcast(function):
    c0, c2 = torch.arange(5), torch.arange(3)[:, None]
    together = function(9, c0, 7, c2, 4)
    for row in range(3):
        for column in range(5):
            alone = function(9, torch.tensor([column]), 7, row, 4)
            assert [int(w[row, column]) for w in together] == [int(w[0]) for w in alone]


def test_the_seed_may_be_a_tensor():
    index = torch.arange(4)
    assert all(map(torch.equal, philox(torch.tensor(2**62 + 5), index, 1, 2, 3), philox(2**62 + 5, index, 1, 2, 3)))


def test_the_two_paths_are_taken():
    """Under `torch.compile` there is no NumPy; a subclass of Tensor is none either."""

    class Sub(torch.Tensor):
        pass

    index = torch.arange(4)
    plain, other = philox(1, index, 0, 0, 0), philox(1, index.as_subclass(Sub), 0, 0, 0)
    assert type(plain[0]) is torch.Tensor
    assert type(other[0]) is Sub
    assert all(torch.equal(a, b.as_subclass(torch.Tensor)) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("changed", ["seed", "env", "episode", "step", "stream", "block"])
def test_every_coordinate_matters(changed):
    here = {"seed": 1, "env": torch.arange(64), "episode": 2, "step": 3, "stream": STREAM_STEP, "block": 4}
    there = here | {changed: here[changed] + 64 if changed == "env" else here[changed] + 1}
    first, second = (words(Rng(*list(h.values())[:5]), h["block"]) for h in (here, there))
    for a, b in zip(first, second, strict=True):
        assert (a == b).float().mean() < 0.1


def test_the_upper_half_of_the_seed_matters():
    low, high = (words(Rng(seed, torch.arange(64), 0, 0, 0), 0)[0] for seed in (1, 1 + 2**40))
    assert not torch.equal(low, high)


def test_a_step_may_be_float():
    """The count of steps is kept in float32."""
    index = torch.arange(9)
    ints, floats = (words(Rng(3, index, 0, step, 0), 1) for step in (index * 5, index.float() * 5))
    assert all(map(torch.equal, ints, floats))


def test_draws_are_uniform():
    rng = Rng(11, torch.arange(40_000), 0, 0, STREAM_ACTION)
    for draw in uniform4(rng, 0, -2.0, 6.0):
        assert draw.dtype == torch.float32
        assert -2.0 <= draw.min() < -1.99
        assert 5.99 < draw.max() < 6.0
        counts = np.histogram(draw.numpy(), bins=20, range=(-2, 6))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 50  # chi² with 19 degrees of freedom: p = 1e-4


def test_draws_are_independent():
    rng = Rng(12, torch.arange(40_000), 0, 0, STREAM_ACTION)
    a, b, c, d = uniform4(rng, 0, 0.0, 1.0)
    later = uniform(rng._replace(step=1), 0, 0.0, 1.0)
    correlations = torch.corrcoef(torch.stack([a, b, c, d, later, a.roll(1)])) - torch.eye(6)
    assert correlations.abs().max() < 0.03  # six times its standard deviation


def test_uniform_is_the_first_of_four():
    rng = Rng(13, torch.arange(8), 1, 2, 3)
    assert torch.equal(uniform(rng, 5, 0.0, 2.0), uniform4(rng, 5, 0.0, 2.0)[0])


def test_bounds_may_be_lanes():
    rng = Rng(13, torch.arange(1000), 1, 2, 3)
    low = torch.linspace(-3, 3, 1000)
    draw = uniform(rng, 0, low, low + 2)
    assert ((draw >= low) & (draw < low + 2)).all()
    assert torch.allclose(draw - low, uniform(rng, 0, 0.0, 2.0), atol=1e-5)


def test_the_bound_is_never_reached():
    """The largest word that there is still scales to less than `high`, and zero to `low`."""
    from gpusim.kernels.lang import _scale

    word = torch.tensor([0, 2**32 - 1])
    for low, high in ((0.0, 1.0), (-0.05, 0.05), (-1.0, 1.0)):
        least, most = _scale(word, low, high)
        assert float(least) == np.float32(low)
        assert float(most) < np.float32(high)
