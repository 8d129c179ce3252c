"""TensorBoard's file, each reading written as it comes.

TensorBoard's own writer does that in a thread, where a full disk is a traceback and from which a process cannot fork.
"""

import contextlib
import os
import socket
import time
import weakref
from pathlib import Path
from typing import IO, Any

GROUPS = {
    "episode": ("return", "length", "episodes"),
    "loss": ("total", "policy", "value", "loss"),
    "schedule": ("learning_rate", "epsilon", "updates_per_step"),
    "time": ("seconds", "steps_per_second"),
}
MACHINE = ("gpu_", "torch_", "host_", "process_")  # what a metric of the machine begins with


def tag(metric: str) -> str:
    """TensorBoard's name for it: what belongs together is shown together."""
    other = "machine" if metric.startswith(MACHINE) else "learning"
    group = next((group for group, metrics in GROUPS.items() if metric in metrics), other)
    return f"{group}/{metric}"


class Events:
    """A new file in the folder `path`, in which what is there of later steps than `first_step` counts no longer.

    Raises:
        OSError: it cannot be written; so may `add`.
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, path: Path, first_step: int):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.event, self.summary = event_pb2.Event, summary_pb2.Summary
        path.mkdir(exist_ok=True)  # in its run's folder, which is not made anew where it is gone
        stamp = f"{time.time():.6f}"  # TensorBoard reads a run's files in the order of their names
        self.file = open(path / f"events.out.tfevents.{stamp}.{socket.gethostname()}.{os.getpid()}", "xb")  # noqa: SIM115
        self.close = weakref.finalize(self, _close, self.file)
        self.records = RecordWriter(self.file)
        begin = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        now = time.time()
        self._write(wall_time=now, step=first_step, file_version="brain.Event:2")
        self._write(wall_time=now, step=first_step, session_log=begin)

    def add(self, values: dict[str, float], step: int, walltime: float) -> None:
        scalars = [self.summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(wall_time=walltime, step=step, summary=self.summary(value=scalars))

    def _write(self, **fields: Any) -> None:
        self.records.write(self.event(**fields).SerializeToString())
        self.records.flush()


def _close(file: IO[bytes]) -> None:
    """Raises nothing: what could be written was."""
    with contextlib.suppress(OSError):
        file.close()
