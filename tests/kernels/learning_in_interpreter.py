"""Run by test_update.py in a process of its own, in which TRITON_INTERPRET=1 makes kernels run on the CPU.

The kernels of learning against their twins; what they have to fill holds NaN or an absurd number before.
"""

import pytest
import torch
import triton
import triton.language as tl

from gpusim.kernels.adam import adam_step, adam_step_torch, sum_parts, sum_rows_torch
from gpusim.kernels.finite import note_unfinite_torch
from gpusim.kernels.finite_triton import note_unfinite_triton
from gpusim.kernels.launch import launch, recording
from gpusim.kernels.mlp import MlpShape, actor_torch
from gpusim.kernels.mlp_triton import forward_in_pieces, halves, normalized, tanh
from gpusim.kernels.moments import (
    discounted_returns,
    discounted_returns_torch,
    minibatch_moments,
    minibatch_moments_torch,
    update_moments,
    update_moments_torch,
)
from gpusim.kernels.shuffle import shuffle, shuffle_torch
from gpusim.kernels.update import ppo_gradient
from tests.interpreter import quicken
from tests.kernels import test_finite
from tests.kernels.test_update import double, exact, example

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out


def nan(*shape, dtype=torch.float32):
    return torch.full(shape, torch.nan, dtype=dtype)


# ------------------------------------------------------------------------------------------------------------ mlp


@triton.jit
def forward_kernel(
    inputs, weights, out, n, C1: tl.constexpr, C2: tl.constexpr, INPUTS: tl.constexpr, HIDDEN1: tl.constexpr,
    HIDDEN2: tl.constexpr, OUTPUTS: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = ()
    for k in tl.static_range(INPUTS):
        x = x + (tl.load(inputs + k * n + row, mask=row < n, other=0.0),)
    y = forward_in_pieces(x, weights, C1, C2, INPUTS, HIDDEN1, HIDDEN2, OUTPUTS, RELU, PRECISION)
    for k in tl.static_range(OUTPUTS):
        tl.store(out + k * n + row, y[k], mask=row < n)


@triton.jit
def tanh_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tanh(tl.load(x + i), "tf32x3"))


@triton.jit
def halves_kernel(x, coarse, fine, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b = halves(tl.load(x + i))
    tl.store(coarse + i, a)
    tl.store(fine + i, b)


@triton.jit
def normalized_kernel(x, mean, scale, out, N: tl.constexpr):
    i = tl.arange(0, N)
    y = normalized((tl.load(x + i), tl.load(x + N + i)), mean, scale)
    tl.store(out + i, y[0])
    tl.store(out + N + i, y[1])


TOLERANCE = {"tf32x3": 1e-6, "tf32": 1e-6, "bf16": 3e-2}  # the interpreter multiplies tf32 in float32


@pytest.mark.parametrize(
    ("widths", "pieces", "precision"),
    [((16, 16), (16, 16), "tf32x3"), ((32, 64), (16, 32), "tf32"), ((64, 64), (64, 16), "bf16"),
     ((100, 48), (16, 64), "tf32x3"), ((256, 128), (64, 64), "tf32x3"), ((256, 256), (64, 128), "bf16")],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_forward(widths, pieces, precision, activation):
    shape = MlpShape(5, *widths, 3, activation, True)
    generator = torch.Generator().manual_seed(1)
    flat, x = torch.randn(shape.size, generator=generator) * 0.15, torch.randn(37, 5, generator=generator)
    out = nan(3, 37)
    launch(
        forward_kernel, (2,), x.T.contiguous(), flat[shape.actor :], out, 37, C1=pieces[0], C2=pieces[1], INPUTS=5,
        HIDDEN1=widths[0], HIDDEN2=widths[1], OUTPUTS=3, RELU=activation == "relu", PRECISION=precision, BLOCK=32,
    )  # fmt: skip
    expected = actor_torch(flat.double(), shape, x.double())
    torch.testing.assert_close(
        out.T.double(), expected, rtol=0, atol=TOLERANCE[precision] * max(1, expected.abs().max())
    )


def test_tanh():
    ends = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, -100.0, -0.0, 1e-45])
    x = torch.cat([torch.linspace(-12, 12, 4096), torch.logspace(-20, 2, 4088), ends])
    out = nan(8192)
    launch(tanh_kernel, (1,), x, out, N=8192)
    torch.testing.assert_close(out.double(), x.double().tanh(), rtol=0, atol=2e-7, equal_nan=True)


def test_halves_of_a_number():
    """Ten bits of mantissa, near x, and all that they lack; three products of such halves, the finer ones cut again as a
    tensor core does, are as near to float64 as float32's own. NaN is in both."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 4096)
    coarse, fine = nan(4096), nan(4096)
    launch(halves_kernel, (1,), x, coarse, fine, N=4096)
    assert torch.equal(coarse + fine, x)
    assert not (coarse.view(torch.int32) & 0x1FFF).any()
    assert (fine.abs() <= 2.0**-10.9 * x.abs()).all()
    assert 0.2 < (fine * x > 0).float().mean() < 0.6  # of either sign
    cut = (fine.view(torch.int32) & ~0x1FFF).view(torch.float32).double()
    by = x.flip(0).double()
    near = coarse.double() * coarse.flip(0) + cut * coarse.flip(0) + coarse * cut.flip(0)
    assert (near - x * by).abs().max() / (x * by).abs().max() < 2.0**-21
    ends = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0]), nan(4), nan(4)
    ends[0].view(torch.int32)[3] = 0x7FFFFFFF  # the NaN that GPUs make
    launch(halves_kernel, (1,), *ends, N=4)
    assert ends[1].isnan().tolist() == [True, False, False, True]
    assert ends[2].isnan().all()


def test_normalized():
    x = torch.tensor([[1.0, 2.0, 99.0, -99.0], [torch.nan, 0.0, 0.0, 0.0]])
    mean, scale = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.5])
    out = nan(2, 4)
    launch(normalized_kernel, (1,), x, mean, scale, out, N=4)
    torch.testing.assert_close(out, torch.tensor([[0.0, 2.0, 10.0, -10.0], [torch.nan, -1, -1, -1]]), equal_nan=True)


# --------------------------------------------------------------------------------------------------------- update

CASES = [
    {},
    {"activation": "relu", "size": 1},
    {"gaussian": True, "size": 37, "outputs": 1, "envs": 1, "steps": 50},
    {"gaussian": True, "outputs": 3, "normalize_obs": True, "clip_value": True, "activation": "relu"},
    {"normalize_obs": True, "clip_value": True, "size": 257, "start": 0},
    {"normalize_advantage": False, "entropy_coef": 0.1},
    {"hidden": (16, 16), "inputs": 1, "size": 33, "room": 200, "programs": 3},
    {"hidden": (32, 64), "inputs": 17, "outputs": 5},
    {"hidden": (50, 33), "steps": 1, "envs": 300},
    {"hidden": (65, 65), "size": 130, "programs": 1},
    {"hidden": (256, 256), "inputs": 40, "size": 33},
    {"hidden": (128, 64), "activation": "relu", "size": 1, "clip_value": True, "room": 200, "programs": 3},
    {"hidden": (64, 128), "gaussian": True, "outputs": 1, "envs": 1, "steps": 150, "size": 129, "start": 0},
    {"hidden": (100, 256), "gaussian": True, "outputs": 3, "normalize_obs": True, "clip_value": True, "size": 257},
    {"hidden": (256, 16), "inputs": 31, "outputs": 5, "activation": "relu", "entropy_coef": 0.1},
    {"hidden": (20, 192), "inputs": 64, "normalize_advantage": False, "programs": 3, "size": 290, "start": 3},
]


def learned(case, precision="tf32x3"):
    arguments = example(**case)
    workspace = arguments[7]
    for tensor in (*workspace[:3], *workspace[4:]):
        if tensor is not None:
            tensor.fill_(torch.nan)
    ppo_gradient(*arguments, precision)
    return workspace.partials.double().sum(0), exact(*arguments)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient(case):
    """The gradient within 2e-6 of float64 autograd in norm, each metric within 1e-5; measured: 7e-7, 4e-6."""
    got, want = learned(case)
    assert (got - want)[:-8].norm() <= 2e-6 * want[:-8].norm()
    assert (got - want)[:-8].abs().max() <= 2e-6 * want[:-8].abs().max()
    torch.testing.assert_close(got[-8:], want[-8:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [{}, {"hidden": (80, 16)}], ids=str)
def test_gradient_in_bf16(case):
    got, want = learned(case, "bf16")
    assert 1e-5 * want[:-8].norm() < (got - want)[:-8].norm() < 0.02 * want[:-8].norm()


def test_one_launch():
    arguments = example()
    with recording() as launches:
        ppo_gradient(*arguments)
    assert [x.kernel.fn.__name__ for x in launches] == ["ppo_gradient_kernel"]
    assert launches[0].grid == (2, 2)  # programs, and the actor or the critic


# ----------------------------------------------------------------------------------------------------------- adam


def summed(workspace):
    """In float64, by the twin."""
    exact = double(workspace)
    sum_rows_torch(exact.partials, exact.grad, exact.squares)
    return exact


@pytest.mark.parametrize("programs", [1, 5])
@pytest.mark.parametrize("across", [None, lambda grad: grad.mul_(-3.0)], ids=["alone", "across"])
def test_sum_of_parts(programs, across):
    """Also where a second device changes the sum: the norm is that of what is stepped by."""
    workspace = example(programs=programs, size=300, start=0, hidden=(16, 16))[7]
    workspace.partials.normal_(generator=torch.Generator().manual_seed(programs))
    for tensor in (workspace.grad, workspace.squares):
        tensor.fill_(torch.nan)
    exact = summed(workspace)
    sum_parts(workspace, across)
    factor = 1.0 if across is None else -3.0
    torch.testing.assert_close(workspace.grad.double(), factor * exact.grad, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(workspace.squares.double().sum(), factor**2 * exact.squares.sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("programs", [1, 5])
def test_adam(programs):
    """Four steps against the twin in float64; the third's gradient is small, so that it is not clipped."""
    arguments = example(programs=programs, size=300, start=0, hidden=(16, 16))
    shape, workspace, rate = arguments[1], arguments[7], torch.tensor(1e-3)
    generator = torch.Generator().manual_seed(programs)
    state = [torch.randn(shape.size, generator=generator), *torch.zeros(2, shape.size), torch.tensor(0.0)]
    reference = [x.double() for x in state]
    for i in range(4):
        workspace.partials.copy_(torch.randn(workspace.partials.shape, generator=generator) * (1e-4 if i == 2 else 1))
        for tensor in (workspace.grad, workspace.squares):
            tensor.fill_(torch.nan)
        losses, wanted = nan(8), nan(8, dtype=torch.float64)
        sum_parts(workspace)
        adam_step(workspace, *state, rate, 0.5, 1e-5, losses)
        adam_step_torch(summed(workspace), *reference, rate.double(), 0.5, 1e-5, wanted)
        assert workspace.arrived.item() == 0
        torch.testing.assert_close(losses.double(), wanted, rtol=1e-5, atol=1e-6)
        for got, want in zip(state, reference, strict=True):
            assert (got - want).abs().max() <= 1e-6 * want.abs().max()
    assert state[3] == 4


def test_bias_correction_after_many_steps():
    arguments = example(hidden=(16, 16))
    shape, workspace = arguments[1], arguments[7]
    workspace.partials.normal_(generator=torch.Generator().manual_seed(0))
    for steps in (999.0, 1e6):
        state = [torch.zeros(shape.size), *torch.full((2, shape.size), 0.1), torch.tensor(steps)]
        reference = [x.double() for x in state]
        sum_parts(workspace)
        adam_step(workspace, *state, torch.tensor(1e-3), 0.5, 1e-5, nan(8))
        adam_step_torch(summed(workspace), *reference, torch.tensor(1e-3).double(), 0.5, 1e-5, nan(8).double())
        torch.testing.assert_close(state[0].double(), reference[0], rtol=2e-6, atol=0)


# ------------------------------------------------------------------------------------------- shuffle and moments


@pytest.mark.parametrize("size", [1, 2, 3, 300, 512])
def test_shuffle(size):
    seed, counter = torch.tensor(2**40 + 3), torch.tensor(5)
    out = torch.full((size,), -7, dtype=torch.int32)
    assert shuffle(size, seed, counter, out) is out
    assert torch.equal(out, shuffle_torch(size, seed, counter))


@pytest.mark.parametrize(("shape", "parts"), [((1, 1), 1), ((1, 7), 3), ((7, 11), 4), ((50, 301), 3)])
def test_minibatch_moments(shape, parts):
    generator = torch.Generator().manual_seed(0)
    advantage = 100 + torch.randn(shape, generator=generator)
    order = torch.randperm(advantage.numel(), generator=generator).int()
    got = minibatch_moments(advantage, order, parts, nan(parts, 2))
    want = minibatch_moments_torch(advantage.double(), order, parts)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 2, 300), (37, 3, 301)])
def test_update_moments(shape):
    generator = torch.Generator().manual_seed(0)
    state = [torch.zeros(shape[1]).double(), torch.ones(shape[1]).double(), torch.tensor(0.0).double()]
    reference = [x.clone() for x in state]
    for i in range(3):
        batch = 50 + i + torch.randn(shape, generator=generator)
        update_moments(*state, batch)
        update_moments_torch(*reference, batch)
        torch.testing.assert_close(state, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1, 300), (9, 130)])
def test_discounted_returns(shape):
    generator = torch.Generator().manual_seed(0)
    reward, done = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator) < 0.3
    running = torch.randn(shape[1], generator=generator)
    reference = running.clone()
    got = discounted_returns(reward, done, running, 0.97, nan(*shape))
    torch.testing.assert_close(got, discounted_returns_torch(reward, done, reference, 0.97))
    torch.testing.assert_close(running, reference)


# --------------------------------------------------------------------------------------------------------- finite


@pytest.mark.parametrize("case", test_finite.CASES)
@pytest.mark.parametrize("lanes", [True, False])
def test_note_unfinite(case, lanes):
    test_finite.check(note_unfinite_triton, case, lanes)


def test_note_unfinite_by_values():
    test_finite.check_with_values(note_unfinite_triton)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 1000), (40, 3, 257)])
def test_note_unfinite_in_many_blocks(shape):
    steps, entries, envs = shape
    obs, done = torch.zeros(shape).movedim(1, -1), torch.rand(steps, envs) < 0.2
    parts = [obs, torch.zeros(steps, envs), torch.zeros(steps, envs), torch.ones(steps, envs), done, torch.arange(envs)]
    for which, place in ((0, (steps - 1, envs - 1, entries - 1)), (1, (steps // 2, envs // 3)), (2, (0, envs // 2))):
        parts[which][place] = torch.nan
        got, want = torch.zeros(2, 6, dtype=torch.int64)
        note_unfinite_triton(got, *parts, None)
        note_unfinite_torch(want, *parts)
        assert want[0] == 1
        assert torch.equal(got, want)


def test_moments_pass_over_what_is_not_finite():
    batch = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(0))
    batch[2, 1, 7], batch[4, 0, 3] = torch.nan, torch.inf
    got, want = ([torch.ones(3).double(), torch.ones(3).double(), torch.ones(()).double()] for _ in range(2))
    update_moments(*got, batch)
    update_moments_torch(*want, batch)
    for a, b in zip(got, want, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b)
    reward, done = torch.ones(4, 3), torch.zeros(4, 3, dtype=torch.bool)
    reward[1, 0], reward[2, 1], done[2] = torch.nan, torch.inf, True
    got, want = torch.zeros(2, 3)
    assert torch.equal(discounted_returns(reward, done, got, 0.5), discounted_returns_torch(reward, done, want, 0.5))
    assert torch.equal(got, want)
    assert got.tolist() == [1.0, 1.0, 1.0]
