"""`gpusim export`: a trained policy for others to run."""

import shlex

from gpusim.agents.app import arguments


def main(args: list[str]) -> int:
    from gpusim.agents.app.export.command import Export, run

    path, rest = arguments.run_path(args, "export")
    asked = arguments.options(Export(), rest, f"gpusim export {shlex.quote(path)}")
    arguments.named(asked, "out")
    return run(path, asked)
