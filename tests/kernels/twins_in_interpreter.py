"""Run by test_twins.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import pytest

from gpusim.kernels import tune
from gpusim.kernels.twin import twins
from tests.interpreter import quicken
from tests.kernels.twins import agree, cases

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


@pytest.mark.parametrize(("twin", "sizes"), cases())
def test_kernels_do_what_their_specification_says(twin, sizes):
    agree(twin, sizes, "cpu")


IN_PIECES = [case for case in cases() if case.values[0].pieces and case.values[1].get("capacity", 0) < 10**6]


@pytest.mark.parametrize(("twin", "sizes"), IN_PIECES)
def test_and_in_smaller_pieces(twin, sizes):
    with tune.assumed("sm_90", twin.pieces):
        agree(twin, sizes, "cpu")


def test_all_are_compared():
    assert len(twins()) > 12
    assert all(twin.cases for twin in twins().values())
