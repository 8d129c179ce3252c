"""`gpusim info`: this machine."""

import dataclasses

from gpusim.agents.app import arguments


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Info:
        """Tells what this machine has and which backends work on it."""

    arguments.options(Info(), args, "gpusim info")
    from gpusim.agents.app.info import main as tell

    tell()
    return 0
