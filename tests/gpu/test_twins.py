"""Each kernel on the device against its specification there, or in float64."""

import pytest

from tests.kernels.twins import agree, cases

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("twin", "sizes"), cases(large=True))
def test_kernels_do_what_their_specification_says(twin, sizes):
    agree(twin, sizes, "cuda")
