"""A function captured as a CUDA graph: the host starts all of its kernels by one call."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gpusim.pin import Pin
from gpusim.rollout import Steppable
from gpusim.vector import VectorEnv


class Captured:
    """Calls `function()`: as it is the first time, which compiles what it needs; then captured, and replayed ever after.

    What it returns is the same tensors at every replay. On the CPU, and where a capture fails (a warning says so), the
    function is simply called.

    Args:
        function: without arguments; reads and writes the same tensors at every call, and looks at no value on the host.
        device: where it runs.
        generators: those it draws from.
        stream: to capture on; functions that train the same parameters need the same one. None makes one.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
        stream: torch.cuda.Stream | None = None,
    ):
        self.function, self.generators, self.device = function, generators, device
        self.wanted, self.failed = device.type == "cuda", False
        self.stream = stream or torch.cuda.Stream(device) if self.wanted else None
        self.graph: Any = None
        self.result: Any = None
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        if not self.wanted:
            return self.function()
        if self.calls == 1:
            return self._aside()
        if self.graph is None and not self._capture():
            return self.function()
        self.graph.replay()
        return self.result

    def _aside(self) -> Any:
        """Once on the stream of the capture, as autograd remembers on which one a gradient was first added."""
        assert self.stream
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = self.function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _capture(self) -> bool:
        graph, before, index = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), self.device.index or 0
        drawn = (*self.generators, *torch.cuda.default_generators[index : index + 1])  # torch captures its own too
        states = [generator.clone_state() for generator in drawn]
        pool: dict[str, Any] = {"pool": torch.cuda.graph_pool_handle()} if torch.cuda.is_available() else {}
        for generator in self.generators:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph, stream=self.stream, **pool):
                self.result = self.function()
        except RuntimeError as error:
            torch.cuda.set_stream(before)  # before torch 2.13 stream, generators and memory stay in the capture
            for generator, state in zip(drawn, states, strict=True):
                generator.graphsafe_set_state(state)
            for each in pool.values():
                _end_allocation(index, each)
            self.wanted, self.failed = False, True
            cause = error.__context__ or error
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            warnings.warn(
                f"this iteration cannot be captured as a CUDA graph ({reason}); its kernels are launched one by one.",
                stacklevel=2,
            )
            return False
        self.graph = graph
        return True


def _end_allocation(index: int, pool: Any) -> None:
    """The capture's memory is free again, and no more is taken for it; where that is so already, nothing."""
    with suppress(AttributeError, RuntimeError):
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)


class GraphedIteration:
    """A learner's iteration by torch operations; on a GPU a graph of them, on environments whose state is held.

    Args:
        env: the learner's environments.
        generator: its own, which it draws from.
        num_steps: of every environment in an iteration.
        iterate: from a learning rate, on a GPU a tensor, and the number of updates, where that changes, to scalars by name.
        wanted: whether it can be captured, as it looks at no values; wrappers, and environments that step on the host,
            cannot.
    """

    def __init__(
        self,
        env: Steppable,
        generator: torch.Generator,
        num_steps: int,
        iterate: Callable[..., dict[str, Tensor]],
        wanted: bool = True,
    ):
        self.env, self.generator, self.num_steps, self.iterate, device = env, generator, num_steps, iterate, env.device
        self.wanted = device.type != "cpu" and wanted and isinstance(env, VectorEnv)
        self.pin, self.rate = Pin(), torch.zeros((), device=device)
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.captured: dict[tuple[int, ...], Captured] = {}

    @property
    def run(self) -> Callable[..., dict[str, Tensor]]:
        """What makes an iteration, of a learning rate and the number of updates, where that changes: a graph where one is
        wanted, else the function itself. The metrics are scalars on the device."""
        return self._replayed if self.wanted else self.iterate

    def _replayed(self, learning_rate: float, *updates: int) -> dict[str, Tensor]:
        """By the graph that there is for each number of updates."""
        env = self._held()
        clock = env.clock
        if not env.hold(self.pin):
            self.captured = {}
        if updates not in self.captured:
            self.captured[updates] = self._capture(updates)
        self.rate.fill_(learning_rate)
        captured = self.captured[updates]
        losses = captured()
        if captured.failed:  # so would other numbers of updates, and older graphs draw from the generator's old state
            self.wanted, self.captured = False, {}
        env.clock = clock + self.num_steps
        return {name: loss.clone() for name, loss in losses.items()}

    def _capture(self, updates: tuple[int, ...]) -> Captured:
        in_place = partial(self._in_place, updates)
        return Captured(in_place, self.env.device, (self.generator,), self.stream)

    def _in_place(self, updates: tuple[int, ...]) -> dict[str, Tensor]:
        self._held().put_back(self.pin)  # wherever a capture that failed has left it
        losses = self.iterate(self.rate, *updates)
        self._held().hold(self.pin)
        return losses

    def _held(self) -> VectorEnv:
        assert isinstance(self.env, VectorEnv)
        return self.env
