"""The template by which an environment's functions run inside a kernel, as small as it can be."""

import triton
import triton.language as tl


@triton.jit
def load(pointers, at, mask, kind: tl.constexpr):
    fields = ()
    for k in tl.static_range(len(pointers)):
        fields = fields + (tl.load(pointers[k] + at, mask=mask),)
    return kind(*fields)


@triton.jit
def store(pointers, values, at, mask):
    """Lanes, and entities `[N, K]`."""
    for k in tl.static_range(len(pointers)):
        tl.static_assert(pointers[k].dtype.element_ty == values[k].dtype)
        if len(values[k].shape) == 1:
            tl.store(pointers[k] + at, values[k], mask=mask)
        else:
            place = at[:, None] * values[k].shape[1] + tl.arange(0, values[k].shape[1])
            tl.store(pointers[k] + place, values[k], mask=mask[:, None])


@triton.jit
def init_kernel(
    out, obs, params, seed, n, INIT: tl.constexpr, OBSERVE: tl.constexpr, RNG: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    state = INIT(RNG(seed, at, at * 0 + 6, 0, 0), params)
    store(out, state, at, at < n)
    store(obs, OBSERVE(state, params), at, at < n)


@triton.jit
def step_kernel(
    state, action, out, reward, terminated, obs, params, seed, n, steps,
    STATE: tl.constexpr, STEP: tl.constexpr, OBSERVE: tl.constexpr, RNG: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """`steps` steps with one and the same action, the state held in registers."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    s = load(state, at, mask, STATE)
    a = tl.load(action + at, mask=mask)
    total = tl.zeros((BLOCK,), tl.float32)
    ever = total > 0
    for t in range(steps):
        s, r, ended = STEP(s, a, RNG(seed, at, at * 0 + 6, at * 0 + t, 1), params)
        total += r
        ever = ever | ended
    store(out, s, at, mask)
    store((reward, terminated), (total, ever), at, mask)
    store(obs, OBSERVE(s, params), at, mask)


@triton.jit
def word_kernel(inputs, out, n, LANES: tl.constexpr, WORD: tl.constexpr, BLOCK: tl.constexpr):
    """`out = WORD(*inputs)`, all of them lanes."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = load(inputs, at, at < n, LANES)
    store(out, WORD(values), at, at < n)


@triton.jit
def entity_kernel(input, out, N: tl.constexpr, K: tl.constexpr, WORD: tl.constexpr):
    """`out = WORD(input)` for `[N, K]`; what comes back is `[N]` or `[N, K]`."""
    at = tl.arange(0, N)
    x = tl.load(input + at[:, None] * K + tl.arange(0, K))
    y = WORD(x)
    for k in tl.static_range(len(out)):
        tl.static_assert(out[k].dtype.element_ty == y[k].dtype)
        if len(y[k].shape) == 1:
            tl.store(out[k] + at, y[k])
        else:
            tl.store(out[k] + at[:, None] * K + tl.arange(0, K), y[k])
