"""Inputs as expressions of Python, so that each can be read, and played again: a call with holes, and what goes into them.

A hole knows what is right for it, what may be taken or not, and what is wrong, which is most of `ANYTHING`. An input fills
every hole with something right but one or two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from hypothesis import strategies as st

import gpusim

ANYTHING = (
    "None", "True", "False", "0", "-1", "1", "2", "2**31", "2**63", "2**70", "-2**63", "10**5000", "0.5", "1e3",
    "-0.0", "nan",
    "inf", "-inf", "1j", "''", "' '", "'8'", "'1e3'", "'ü' * 3", "'x' * 10_000", "'\\0'", "'cpu'", "b'8'", "[]", "()",
    "{}", "set()", "[1]", "(1, 2)", "{'a': 1}", "[[1, 2], [3]]", "[None]", "object()", "int", "gpusim", "lambda: 0",
    "lambda x: x", "range(4)", "iter([1])", "slice(2)", "...", "NotImplemented", "np.int64(2)", "np.uint8(2)",
    "np.float32(2)",
    "np.float64('nan')", "np.bool_(True)", "np.str_('8')", "np.zeros(0)", "np.zeros(3)", "np.zeros((2, 2))",
    "np.array(2)",
    "np.array('a')", "np.array([None])", "np.array([{}, 1], dtype=object)", "np.datetime64('2020-01-01')",
    "torch.tensor(2)",
    "torch.tensor(0.5)", "torch.tensor(nan)", "torch.zeros(0)", "torch.zeros(3)", "torch.zeros(4)",
    "torch.full((4,), nan)",
    "torch.zeros(4, device='meta')", "torch.zeros(4, dtype=torch.complex64)", "torch.zeros(4, requires_grad=True)",
    "torch.eye(4).to_sparse()", "torch.float32", "torch.device('cpu')", "torch.Generator()", "torch.nn.Linear(4, 2)",
    "gpusim.Uniform(0.5, 1.5)", "gpusim.Uniform(1, 0)", "Exception('no')", "AutoresetMode", "Discrete(2)",
    "Box(-1, 1, (2,))",
    "gpusim.spec('CartPole-v1')",
)  # fmt: skip
NAMES: dict[str, Any] = {
    "gpusim": gpusim, "np": np, "torch": torch, "nan": math.nan, "inf": math.inf, "AutoresetMode": AutoresetMode,
    "Box": Box,
    "Discrete": Discrete,
}  # fmt: skip


@dataclass(frozen=True)
class Hole:
    """What may go into one place of a call."""

    right: Sequence[str]
    either: Sequence[str] = ()
    wrong: Sequence[str] = ()
    never: Sequence[str] = ()  # takes too long
    anything: bool = True  # whether what is in ANYTHING, and neither right nor either, is wrong

    @property
    def refused(self) -> list[str]:
        known = {*self.right, *self.either, *self.wrong, *self.never}
        return [*self.wrong, *(x for x in ANYTHING if self.anything and x not in known)]


@dataclass(frozen=True)
class Call:
    """An expression with holes by name, in braces; `before` is run first and gives further names."""

    text: str
    holes: dict[str, Hole]
    before: str = ""
    names: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """A filled call; `meant`: it must work, it must not, or None: whichever it does."""

    text: str
    before: str
    meant: bool | None
    names: dict[str, Any]

    def prepared(self) -> dict[str, Any]:
        names = NAMES | self.names
        exec(self.before, names)
        return names

    def __str__(self) -> str:
        return f"{self.before}; {self.text}" if self.before else self.text


@st.composite
def inputs(draw: Any, call: Call) -> Input:
    """One or two holes are filled badly, or none."""
    bad = draw(st.sets(st.sampled_from(sorted(call.holes)), max_size=2)) if draw(st.integers(0, 7)) else set()
    meant, filled = True, {}
    for name, hole in call.holes.items():
        pools = [("right", hole.right)] if hole.right else [("either", hole.either)]
        if name in bad:
            pools = [("either", hole.either)] * bool(hole.either) + [("wrong", hole.refused)] * (
                4 if hole.refused else 0
            )
        verdict, pool = draw(st.sampled_from(pools or [("right", hole.right)]))
        filled[name] = draw(st.sampled_from(list(pool)))
        if verdict == "wrong":
            meant = False
        elif verdict == "either" and meant:
            meant = None
    return Input(call.text.format_map(filled), call.before, meant, call.names)
