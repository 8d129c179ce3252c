"""The first NaN or infinity of a rollout, found where it is."""

import pytest
import torch

from gpusim.kernels.finite import Found, all_finite, note_unfinite, note_unfinite_torch

NAN, INF = float("nan"), float("inf")


def rollout(steps=5, envs=7, entries=3, lanes=True):
    """Episodes of two steps in environment 3, and of five in the others; the number of each is 10 at the end."""
    obs = torch.arange(float(steps * envs * entries)).reshape(steps, entries, envs)
    obs = obs.movedim(1, -1) if lanes else obs.movedim(1, -1).contiguous()
    done = torch.zeros(steps, envs, dtype=torch.bool)
    done[1::2, 3] = True
    length = torch.arange(1.0, steps + 1).repeat(envs, 1).T.contiguous()
    length[:, 3] = torch.arange(steps) % 2 + 1.0
    parts = obs, obs.clone(), torch.ones(steps, envs), length, done, torch.full((envs,), 10)
    return list(parts)


CASES = {  # the tensor (0 obs, 1 next_obs, 2 reward), its place, what is put there, and what is found
    "reward": ([(2, (2, 4), NAN)], Found(1, 2, 2, 4, 10, 3)),
    "the episode was another": ([(2, (2, 3), INF)], Found(1, 2, 2, 3, 9, 1)),
    "its last step": ([(1, (1, 3, 0), -INF)], Found(1, 1, 1, 3, 8, 2)),
    "the earliest": ([(2, (4, 0), NAN), (2, (3, 6), NAN), (0, (4, 0, 0), NAN)], Found(1, 2, 3, 6, 10, 4)),
    "the lowest": ([(2, (1, 2), NAN), (0, (1, 3, 2), NAN)], Found(1, 2, 1, 2, 10, 2)),
    "the cause": ([(2, (1, 2), NAN), (1, (1, 2, 2), NAN)], Found(1, 1, 1, 2, 10, 2)),
    "at the start": ([(0, (0, 0, 1), NAN)], Found(1, 0, 0, 0, 10, 1)),
    "none": ([(2, (1, 2), 3e38), (2, (1, 3), 3e38)], Found(*[0] * 6)),
}


def check_with_values(note):
    """The value of the next observation tells of it where that of the observation is finite."""
    parts, noted, value = rollout(), torch.zeros(6, dtype=torch.int64), torch.zeros(5, 7)
    parts[1] = torch.zeros(5, 7)
    parts[1][1:, 2] = NAN
    value[1:3, 2] = torch.tensor([NAN, INF])
    note(noted, *parts, value)
    assert Found(*noted.tolist()) == Found(1, 1, 3, 2, 10, 4)


def check(note, case, lanes):
    puts, expected = CASES[case]
    parts, noted = rollout(lanes=lanes), torch.zeros(6, dtype=torch.int64)
    for which, place, value in puts:
        parts[which][place] = value
    note(noted, *parts, None)
    assert Found(*noted.tolist()) == expected
    parts[2][0, 0] = NAN
    note(noted, *parts, None)
    assert Found(*noted.tolist()) == (
        expected if expected.found else Found(1, 2, 0, 0, 10, 1)
    )  # what stands there stays


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("note", [note_unfinite, note_unfinite_torch])
def test_the_first_is_found(note, case):
    for lanes in (True, False):
        check(note, case, lanes)


def test_values_tell_of_next_observations():
    check_with_values(note_unfinite)


def test_whole_numbers_are_finite():
    parts, noted = rollout(), torch.zeros(6, dtype=torch.int64)
    parts[0] = parts[1] = torch.full((5, 7, 4, 4, 2), 255, dtype=torch.uint8)
    note_unfinite(noted, *parts)
    assert not noted.any()
    assert all_finite(torch.full((3,), 3e38))  # whose sum is not
