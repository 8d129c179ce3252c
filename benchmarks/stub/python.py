"""A Python of which every process is over the pretended GPU, also those that it starts: to rehearse what a GPU is used for.

    python benchmarks/stub/python.py FOLDER  # makes it; FOLDER/bin/python is it
    PYTHON=FOLDER/bin/python GPU_ENVS=4096 bash benchmarks/gpu_once.sh RESULTS

It has the packages of the Python that makes it. Nothing is computed, so most tests fail, and figures mean nothing.
"""

import site
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN = "stubbed.py"  # run as each of its processes starts
CODE = """import sys

if "pip" not in sys.orig_argv:
    sys.path[:0] = added = [{root!r}, {benchmarks!r}]
    from stub import gpu

    gpu.pretend()
    for path in added:
        sys.path.remove(path)
"""


def make(folder: Path) -> Path:
    """The program."""
    venv.EnvBuilder(symlinks=True, with_pip=False, clear=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    code = CODE.format(root=str(HERE.parents[1]), benchmarks=str(HERE.parent))
    (packages / BEGIN).write_text(code)
    (packages / "stubbed.pth").write_text("\n".join([*site.getsitepackages(), f"import {Path(BEGIN).stem}"]) + "\n")
    return folder / "bin" / "python"


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
