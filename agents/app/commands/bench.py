"""`gpusim bench`: how fast this machine steps environments."""

import itertools

from gpusim.agents.app import arguments


def main(args: list[str]) -> int:
    from gpusim.agents.bench.command import BenchConfig, bench

    envs = list(itertools.takewhile(lambda word: not word.startswith("-"), args))
    default = BenchConfig(env=tuple(envs)) if envs else BenchConfig()
    result = bench(arguments.options(default, args[len(envs) :], "gpusim bench", hidden=("env",)))
    if result.get("interrupted"):
        return 130
    return 0 if any("not_measured" not in row for row in result["rows"]) else 1
