"""A Python program over the pretended GPU, to see whether it goes through: PYTHONPATH=benchmarks python -m stub FILE ...

It is called as Python is: a file, -m MODULE or -c CODE, then arguments. Programs that it starts are not over the stub.
"""

import runpy
import sys

from stub import gpu


def main(what: str, *arguments: str) -> None:
    gpu.pretend()
    if what == "-c":
        sys.argv = [what, *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
    elif what == "-m":
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *arguments]
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Say what to run: python -m stub FILE, -m MODULE or -c CODE.")
    main(*sys.argv[1:])
