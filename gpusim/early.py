"""Ctrl-C, SIGTERM and SIGHUP while the command `gpusim` is still being imported, of which torch takes seconds, end it in one
line."""

import os
import signal
import sys
from typing import Any


def _stop(number: int, frame: Any) -> None:
    os.write(2, b"gpusim: stopped\n")
    os._exit(128 + number)


def _is_the_command() -> bool:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name == "gpusim" or (name == "-m" and "gpusim.agents" in sys.orig_argv)


if _is_the_command():
    for _name in {"SIGINT", "SIGTERM", "SIGHUP"} & set(signal.Signals.__members__):
        if signal.getsignal(_number := signal.Signals[_name]) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(_number, _stop)  # until the command line takes over
