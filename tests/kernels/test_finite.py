"""The first NaN or infinity of a rollout, found where it is."""

import math

import pytest
import torch

from gpusim.kernels.finite import BY_VALUE, PUTS, Found, all_finite, note_unfinite
from gpusim.kernels.twin import twins

FOUND = {
    "reward": Found(1, 2, 2, 4, 10, 3),
    "the episode was another": Found(1, 2, 2, 3, 9, 1),
    "its last step": Found(1, 1, 1, 3, 8, 2),
    "the earliest": Found(1, 2, 3, 6, 10, 4),
    "the lowest": Found(1, 2, 1, 2, 10, 2),
    "the cause": Found(1, 1, 1, 2, 10, 2),
    "at the start": Found(1, 0, 0, 0, 10, 1),
    "none": Found(*[0] * 6),
}


def example(**sizes):
    return twins()["note_unfinite"].example(**sizes)


@pytest.mark.parametrize("case", PUTS)
@pytest.mark.parametrize("lanes", [True, False])
def test_the_first_is_found(case, lanes):
    noted, *parts = example(puts=PUTS[case], lanes=lanes)
    note_unfinite(noted, *parts)
    expected = FOUND[case]
    assert Found(*noted.tolist()) == expected
    parts[2][0, 0] = math.nan
    note_unfinite(noted, *parts)
    stays = expected if expected.found else Found(1, 2, 0, 0, 10, 1)
    assert Found(*noted.tolist()) == stays


def test_values_tell_of_next_observations():
    """The value of the next observation tells of it where that of the observation is finite."""
    noted, *parts = example(puts=BY_VALUE, by_value=True)
    note_unfinite(noted, *parts)
    assert Found(*noted.tolist()) == Found(1, 1, 3, 2, 10, 4)


def test_whole_numbers_are_finite():
    noted, *parts = example(puts=[(0, (0, 0, 0), 255), (1, (0, 0, 0), 255)], whole=True)
    note_unfinite(noted, *parts)
    assert not noted.any()
    assert all_finite(torch.full((3,), 3e38))  # whose sum is not
