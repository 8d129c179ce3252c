"""How many instructions a turn of a kernel's main loop issues, read from its SASS (`gpusim.kernels.offline`).

Taken is the way that everything usual takes: it misses no store to global memory, and is the shortest of those. So what is
done only now and then (an environment that begins anew, the slow path of a sine) is jumped over.
"""

import functools
import re
from typing import NamedTuple

from gpusim.kernels.offline import TENSOR_CORE

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")
LABEL = re.compile(r"^(\.L_\w+):")
BRANCH = re.compile(r"^(?P<guard>@!?U?P\w+\s+)?BRA(?P<kind>[.\w]*)\s+(?P<operands>.*)`\((?P<label>\.L_\w+)\)")
ENDS = re.compile(r"^(?P<guard>@!?U?P\w+\s+)?(?:EXIT|RET)\b")
STORES = re.compile(r"\b(?:STG|RED|ATOMG|UBLKRED)\b")
TENSOR = re.compile(TENSOR_CORE["sass"])


class Block(NamedTuple):
    """Instructions that are executed together."""

    instructions: tuple[str, ...]
    after: tuple[int, ...]  # the blocks that may follow

    @property
    def stores(self) -> int:
        return sum(bool(STORES.search(x)) for x in self.instructions)

    @property
    def tensor_cores(self) -> bool:
        return any(TENSOR.search(x) for x in self.instructions)


class Loop(NamedTuple):
    head: int
    body: frozenset[int]  # blocks


def turn(assembly: str, trips: tuple[int, ...] = ()) -> int:
    """Instructions that a warp issues in one turn of the main loop, those that jumps skip left out.

    Main are the outermost loops with tensor cores, added where there are several (programs that have the actor and programs
    that have the critic); without tensor cores the longest loop.

    Args:
        assembly: the SASS.
        trips: how often the loops within it turn each time, by depth; those deeper once.

    Raises:
        ValueError: there is no loop.
    """
    blocks = parse(assembly)
    found = loops(blocks)
    outer = [x for x in found if not any(x.body < other.body for other in found)]
    if not outer:
        raise ValueError("the kernel has no loop.")
    lengths = {x: _Turn(blocks, found, x, trips).length for x in outer}
    main = [x for x in outer if any(blocks[b].tensor_cores for b in x.body)]
    return sum(lengths[x] for x in main) if main else max(lengths.values())


def parse(assembly: str) -> list[Block]:
    """The kernel's blocks in their order."""
    code: list[tuple[list[str], list[str]]] = [([], [])]  # the instructions and labels of each block
    for line in assembly.splitlines():
        if label := LABEL.match(line):
            if code[-1][0]:
                code.append(([], []))
            code[-1][1].append(label[1])
        elif instruction := INSTRUCTION.match(line):
            code[-1][0].append(instruction[1])
            if BRANCH.match(instruction[1]) or ENDS.match(instruction[1]):
                code.append(([], []))
    at = {label: i for i, (_, labels) in enumerate(code) for label in labels}
    return [Block(tuple(x), _after(x[-1] if x else "", i, len(code), at)) for i, (x, _) in enumerate(code)]


def _after(last: str, i: int, count: int, at: dict[str, int]) -> tuple[int, ...]:
    ends, branch = ENDS.match(last), BRANCH.match(last)
    falls = not (ends or branch) or bool((ends or branch)["guard"])  # type: ignore[index]
    if branch:  # `BRA.U UP0` and `BRA.DIV` go on too
        falls |= bool(branch["operands"].strip())
    following = [at[branch["label"]]] if branch else []
    return tuple(following + [i + 1] * (falls and i + 1 < count))


def loops(blocks: list[Block]) -> list[Loop]:
    """One for each block to which a block jumps that it dominates."""
    before: list[set[int]] = [set() for _ in blocks]
    for i, block in enumerate(blocks):
        for j in block.after:
            before[j].add(i)
    dominators = _dominators(before)
    bodies: dict[int, set[int]] = {}
    for i, block in enumerate(blocks):
        for head in set(block.after) & dominators[i]:
            body, new = bodies.setdefault(head, {head}), [i]
            while new:
                b = new.pop()
                if b not in body:
                    body.add(b)
                    new.extend(before[b])
    return [Loop(head, frozenset(body)) for head, body in bodies.items()]


def _dominators(before: list[set[int]]) -> list[set[int]]:
    """Of each block those through which every way to it leads; empty where none does."""
    every = set(range(len(before)))
    found = [{0}, *(set(every) for _ in before[1:])]
    changed = True
    while changed:
        changed = False
        for i in range(1, len(before)):
            new = {i} | set.intersection(*(found[b] for b in before[i])) if before[i] else set()
            changed |= new != found[i]
            found[i] = new
    return found


class _Turn:
    """The usual way once through a loop."""

    def __init__(self, blocks: list[Block], found: list[Loop], loop: Loop, trips: tuple[int, ...]) -> None:
        self.blocks, self.loop = blocks, loop
        within = [x for x in found if x.body < loop.body]
        inner = [x for x in within if not any(x.body < other.body for other in within)]
        self.inner = {x.head: (_Turn(blocks, within, x, trips[1:]), trips[0] if trips else 1) for x in inner}
        self.best = functools.cache(self._best)

    @property
    def cost(self) -> tuple[int, int]:
        """Less its stores, its instructions: the least is the usual way."""
        return self.best(self.loop.head)

    @property
    def length(self) -> int:
        return self.cost[1]

    def _best(self, b: int) -> tuple[int, int]:
        """From block `b` to the loop's next turn."""
        if b in self.inner:
            turn, times = self.inner[b]
            stores, length = turn.cost
            leaves = {j for i in turn.loop.body for j in self.blocks[i].after} - turn.loop.body
            own = stores, times * length
        else:
            leaves = set(self.blocks[b].after)
            own = -self.blocks[b].stores, len(self.blocks[b].instructions)
        ways = [
            (0, 0) if j == self.loop.head else self.best(j)
            for j in leaves
            if j in self.loop.body
        ]  # fmt: skip
        least = min(ways, default=(len(self.blocks), 0))  # a way out of the loop is none
        return own[0] + least[0], own[1] + least[1]
