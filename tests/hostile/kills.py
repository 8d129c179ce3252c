"""Runs that are killed, again and again, at moments that the operating system chooses, and resumed until they end.

    python -m tests.hostile.kills --kills 100

Every attempt is a child of one process that has imported everything. It is killed by SIGKILL before the n-th time that it
opens, renames or removes a file of its run; by SIGXFSZ in the middle of a write, so that a file is left that was cut short;
or by SIGPROF after so much processor time, wherever it is. What is left is given the command that a user would try next. In
the end weights, optimizer, replay, readings (but for times) and result must be those of the unbroken run, bit by bit.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.backends.backend_agg
import matplotlib.figure
import tensorboard.compat.proto.event_pb2
import tensorboard.summary.writer.record_writer
import torch
import tyro

import gpusim.agents.app.plot
import gpusim.agents.train.evaluate
from gpusim.agents.app.cli import main
from gpusim.agents.train import monitor
from gpusim.agents.train.discovery import algorithms, module

IMPORTED = (matplotlib, tensorboard, tyro, gpusim.agents)
COMMON = ["--num-envs", "4", "--checkpoint-every", "2", "--log-every", "1", "--device", "cpu", "--hidden", "8"]
RUNS = {  # a dozen iterations each
    "ppo": ["--num-steps", "8", "--minibatches", "2", "--total-steps", "384", "--normalize-obs", "--normalize-reward"],
    "a2c": ["--num-steps", "8", "--total-steps", "384"],
    "reinforce": ["--episode-steps", "12", "--total-steps", "576"],
    "dqn": ["--num-steps", "4", "--total-steps", "192", "--capacity", "96", "--batch-size", "8", "--learning-starts", "32",
            "--prioritized", "--n-step", "2", "--replay-ratio", "0.25"],
    "pqn": ["--num-steps", "8", "--minibatches", "2", "--total-steps", "384", "--repeat", "0.3"],
    "sac": ["--num-steps", "4", "--total-steps", "192", "--capacity", "96", "--batch-size", "8", "--learning-starts", "32",
            "--prioritized", "--n-step", "2", "--replay-ratio", "0.25", "--repeat", "0.3"],
    "td3": ["--num-steps", "4", "--total-steps", "192", "--capacity", "96", "--batch-size", "8", "--learning-starts", "32",
            "--replay-ratio", "0.25", "--policy-every", "3", "--normalize-obs"],
}  # fmt: skip
KINDS = ("before an operation", "within a write", "anywhere")
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")
BY = {signal.SIGKILL: KINDS[0], signal.SIGXFSZ: KINDS[1], signal.SIGPROF: KINDS[2]}


def attempt(command, folder, kill=None):
    """The wait status of a child that runs `command`, armed by `kill`, and what it printed."""
    log = folder.parent / "log"
    if not (child := os.fork()):
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if kill:
            arm(folder, *kill)
        try:
            main(command)
        except SystemExit as exit_:
            sys.stdout.flush()
            os._exit(exit_.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        os._exit(70)
    return os.waitpid(child, 0)[1], log.read_text()


def arm(folder, kind, number, size):
    """Has the system kill this process: at operation `number` on the run's files, there after `size` bytes, or in time."""
    if kind == KINDS[2]:
        signal.setitimer(signal.ITIMER_PROF, 0.01 * number)
        return
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event not in OPERATIONS or not str(arguments[0]).startswith(str(folder)):
            return
        if kind == KINDS[1] and not (
            event == "open" and arguments[2] & os.O_WRONLY and "tensorboard" not in arguments[0]
        ):
            return
        seen += 1
        if seen == number and kind == KINDS[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        if seen == number:
            there = os.path.getsize(arguments[0]) if os.path.exists(arguments[0]) else 0
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (there + size, resource.RLIM_INFINITY))

    sys.addaudithook(hook)


def commands(folder, algorithm):
    """What a user tries: to go on; or to begin, which is refused as soon as there is something to go on with."""
    begin = ["train", algorithm, module(algorithm).Config().env, *COMMON, *RUNS[algorithm], "--run-dir", str(folder)]
    return begin, ["resume", str(folder)]


def series(folder, algorithm, kills, draw):
    """A run that is killed `kills` times and then left alone: how often by which kind."""
    begin, resume = commands(folder, algorithm)
    died = Counter()
    for _ in range(50 * kills):
        if sum(died.values()) == kills or (folder / "result.json").exists():
            break
        kill = (draw.choice(KINDS), draw.randint(1, 30), int(10 ** draw.uniform(0, 4.5)))
        status, said = attempt(next_of(folder, begin, resume), folder, kill)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) in BY, (status, said)
            died[BY[os.WTERMSIG(status)]] += 1
        else:
            assert status == 0, (algorithm, kill, status, said)
    if draw.random() < 0.3:
        status, said = attempt(begin, folder)
        assert status == 0 or "go on with `gpusim resume" in said.splitlines()[-1], said
    status, said = attempt(next_of(folder, begin, resume), folder)
    assert status == 0, said
    return died


def next_of(folder, begin, resume):
    return resume if (folder / "config.json").exists() else begin


def left(folder):
    """All that a run leaves, but for what is measured of time and machine."""
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    state = torch.load(newest, weights_only=True)["state"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(folder.rglob("*.part"))
    assert [a["seconds"] for a in lines] == sorted(a["seconds"] for a in lines), "seconds do not go back"
    measured = {"seconds", "time", "steps_per_second", *monitor.NAMES}
    return leaves(state), [{k: v for k, v in m.items() if k not in measured} for m in [*lines, result]]


def leaves(tree, name=""):
    if isinstance(tree, dict):
        return {k: v for key, sub in tree.items() for k, v in leaves(sub, f"{name}/{key}").items()}
    if isinstance(tree, torch.Tensor):
        content = io.BytesIO()
        torch.save(tree.contiguous().clone(), content)
        return {name: content.getvalue()}
    return {name: repr(tree)}


def run(kills, seed, where):
    """The number of kills of each kind and learner, after everything was found as it should be."""
    draw, counts = random.Random(seed), Counter()
    for number, algorithm in enumerate(algorithms()):
        for name in module(algorithm).__name__, "gpusim.agents.parts.graph":
            assert name in sys.modules
        share = kills // len(algorithms()) + (number < kills % len(algorithms()))
        whole = where / algorithm / "whole"
        whole.parent.mkdir()
        status, said = attempt(commands(whole, algorithm)[0], whole)
        assert status == 0, said
        expected = repr(left(whole))
        runs = 0
        while share > 0:
            runs += 1
            folder = whole.with_name(f"killed-{runs}")
            died = series(folder, algorithm, min(share, 6), draw)
            assert repr(left(folder)) == expected, f"{folder} ends elsewhere than {whole}"
            share -= sum(died.values())
            counts.update({(algorithm, kind): n for kind, n in died.items()})
            counts[algorithm, "runs"] += 1
    return counts


def table(counts):
    columns = (*KINDS, "runs")
    rows = [["killed", *columns]] + [[name, *(counts[name, c] for c in columns)] for name in algorithms()]
    rows.append(["all", *(sum(counts[name, c] for name in algorithms()) for c in columns)])
    return "\n".join("".join(f"{cell!s:>22}" for cell in row) for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="kills-"))
    found = run(asked.kills, asked.seed, home)
    print(table(found))
    total = sum(n for (_, kind), n in found.items() if kind != "runs")
    print(f"{total} kills: every run was resumed and ended like the unbroken one, bit by bit")
    shutil.rmtree(home)
