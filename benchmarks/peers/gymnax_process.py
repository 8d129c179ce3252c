"""One of gymnax's environments in a process of its own, which measures when it is asked to."""

import json
import subprocess
from pathlib import Path

DRIVER = Path(__file__).with_name("gymnax_rollout.py")
PYTHON = Path(__file__).with_name(".venv-gymnax") / "bin" / "python"


def theirs(env: str) -> str:
    """gymnax's name of an environment of ours: "MinAtar/Breakout-v1" is its "Breakout-MinAtar"."""
    suite, _, game = env.rpartition("/")
    return f"{game.removesuffix('-v1')}-{suite}" if suite else env


class Gymnax:
    """See gymnax_rollout.py for the modes.

    Attributes:
        first_s: the first call, compilation included [s].

    Raises:
        RuntimeError: the process did not start or has died; the message ends with what it said.
    """

    def __init__(self, python: Path, env: str, num_envs: int, steps: int, mode: str, seconds: float):
        command = [str(python), str(DRIVER), theirs(env), str(num_envs), str(steps), mode, str(seconds)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        ready = self._read()
        self.first_s, self.versions = ready["first_s"], ready["versions"]

    def _read(self):
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"gymnax failed: {self.process.stderr.read().strip()[-500:]}")
        return json.loads(line)

    def measure(self) -> float:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.communicate()
