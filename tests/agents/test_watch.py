"""`gpusim watch`: what its screen shows at 80 and at 120 columns, over GPUs that are not there."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from gpusim.agents.app.history import MOST, History
from gpusim.agents.app.screen import BARS, View, screen, sparkline
from gpusim.agents.app.watching import Watching
from gpusim.agents.folder.lock import locked
from gpusim.agents.folder.strict_json import dumps
from gpusim.agents.train.devices import Gpu, Host, Machine, Nvml, Process, Work, driver
from gpusim.agents.train.run import LOCK, STOPPED
from tests.agents.test_run import gpusim, train
from tests.fake_nvml import FakeGpu, fake_nvml


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ended"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(ended, tmp_path):
    """One that this process is at work on."""
    folder = shutil.copytree(ended, tmp_path / "runs" / "run")
    (folder / "result.json").unlink()
    with locked(folder / LOCK, "the run"):
        yield folder


def gpus(monkeypatch, *given):
    module = fake_nvml(*given)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def shown(view, width):
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    console.print(screen(view, width))
    lines = console.file.getvalue().splitlines()
    assert [line for line in lines if cell_len(line.rstrip()) > width] == []
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------- devices


def test_gpus_are_read(monkeypatch):
    gpus(monkeypatch, FakeGpu(processes=[(7, 2**30), (8, None)]), FakeGpu(uuid=b"GPU-1", slowed=0x060))
    first, second = Nvml().all()
    assert first == Gpu(
        0, "GPU-fake-0", "NVIDIA H100 80GB HBM3", 93, 31 * 2**30, 80 * 2**30, 61, 412.3, 700.0, 1755, 1980, 4,
        ((7, 2**30), (8, None)),
    )  # fmt: skip
    assert first.reasons == ["power limit"]
    assert second.reasons == ["heat", "heat (hardware)"]
    assert [second.slowed_by(kind) for kind in ("heat", "power")] == [True, False]
    assert Nvml().one("1").index == 1
    assert Nvml().one("2") is None
    assert driver() == "580.65.06"


def test_what_a_driver_does_not_tell_is_none(monkeypatch):
    nothing = FakeGpu(**dict.fromkeys(FakeGpu.__dataclass_fields__))
    gpus(monkeypatch, nothing)
    assert Nvml().all() == [Gpu(0)]
    assert Gpu(0).slowed_by("heat") is None
    assert "GPU 0" in shown(View(Nvml().all(), Host(), [], []), 80)


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    module = gpus(monkeypatch, FakeGpu())

    def fails():
        raise OSError("no library")

    module.nvmlInit = fails
    assert Nvml().all() == []
    assert driver() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Nvml().all() == []
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert Machine().look() == Host()
    assert Process().look() == Work()
    assert "pip install" in shown(View([], Host(), [], []), 80)


def test_a_process_that_is_gone_takes_no_memory():
    assert Process().look().memory > 2**20
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert Process(gone.pid).look().memory is None


# -------------------------------------------------------------------------------------------------------------- screen


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen(width, run, monkeypatch):
    mine, other = (os.getpid(), 12 * 2**30), (1, 3 * 2**30)
    gpus(monkeypatch, FakeGpu(processes=[mine, other]), FakeGpu(uuid="GPU-1", temperature=90, slowed=0x60, clock=990))
    said = shown(Watching(None, run.parent).look(), width)
    for words in (
        "GPU 0  NVIDIA H100 80GB HBM3", "93 %", "31.0 GiB of 80.0 GiB", "run 12.0 GiB", "other processes 3.0 GiB", "61 °C",
        "412 of 700 W", "1,755 of 1,980 MHz", "slowed  power limit", "slowed  heat, heat (hardware)", "host",
        "ppo CartPole-v1", "1,280 of 1,280", "steps/s", "GiB of the host", "what is wrong",
        "GPU 1: Heat slows the GPU down: now its clock",
    ):  # fmt: skip
        assert words in said, words
    assert any(bar in said for bar in BARS)
    assert "what is wrong" in said.splitlines()[0]  # which no short terminal cuts off
    assert len(said.splitlines()) <= 24 + 4


def test_a_run_whose_gpu_is_hot_is_told_so_once(run, monkeypatch):
    hot = {"gpu_slowed_by_heat": 1.0, "gpu_temperature": 90.0, "gpu_clock_mhz": 990.0, "host_cpu": 5.0}
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("".join(dumps(json.loads(line) | hot) + "\n" for line in lines))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert [s.partition(":")[0] for s in Watching(run, run.parent).look().wrong] == ["Heat slows the GPU down"]
    assert Watching(None, run.parent).look().wrong[0].startswith("run: Heat slows")
    gpus(monkeypatch, FakeGpu(slowed=0x20))
    assert [s[:11] for s in Watching(run, run.parent).look().wrong] == ["GPU 0: Heat"]


def test_without_runs_and_gpus(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    said = " ".join(shown(Watching(None, tmp_path / "runs").look(), 80).split())  # wherever the lines break
    assert "nothing runs in" in said
    assert "no NVIDIA GPU answers" in said
    assert "at work" in said


def test_a_sparkline():
    assert sparkline(np.arange(8.0), 8) == BARS
    assert sparkline(np.arange(800.0), 4) == "▁▃▆█"
    assert sparkline(np.full(9, 2.0), 4) == "▁▁▁▁"
    assert sparkline(np.array([np.nan, 1.0]), 4) == ""
    assert sparkline(np.array([np.nan, 1.0, np.inf, 2.0]), 4) == "▁█"


# ------------------------------------------------------------------------------------------------------------- history


def reading(iteration, **others):
    return dumps({"iteration": iteration, "steps": iteration, "seconds": 1.0} | others) + "\n"


def test_a_history_takes_what_is_new_and_forgets_what_is_made_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    history = History(path)
    history.look()
    assert history.readings == []
    path.write_text(reading(1) + reading(2, host_cpu=3.0) + '{"iter')
    history.look()
    assert [r["iteration"] for r in history.readings] == [1, 2]
    assert history.machine["host_cpu"] == 3
    with open(path, "a") as file:
        file.write('ation": 3, "steps": 3, "seconds": 1}\n' + reading(4))
    for _ in range(2):
        history.look()
        assert [r["iteration"] for r in history.readings] == [1, 2, 3, 4]
    path.write_text(reading(1) + reading(2, host_cpu=4.0))  # resumed from there
    history.look()
    assert [r["iteration"] for r in history.readings] == [1, 2]
    assert history.last["iteration"] == 2


def test_a_history_of_a_week_stays_small(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(reading(i, **({"host_cpu": 1.0} if i % 100 == 0 else {})) for i in range(1, 10 * MOST)))
    history = History(path)
    history.look()
    assert len(history.readings) <= 3 * MOST
    assert sum("host_cpu" in r for r in history.readings) == 10 * MOST // 100 - 1
    assert history.readings[-1]["iteration"] == 10 * MOST - 1
    history.tail.most = 1000
    assert len(History(path).readings) == 0


# ------------------------------------------------------------------------------------------------------------- command


def test_the_command_shows_a_run_that_has_ended_and_why(ended, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folder = shutil.copytree(ended, tmp_path / "run")
    assert gpusim("watch", folder) == 0
    assert "complete" in capsys.readouterr().out
    (folder / "result.json").unlink()
    (folder / STOPPED).write_text(json.dumps({"sentence": "the reward of environment 3 is not finite."}))
    assert gpusim("watch", folder) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "! A number was none: the reward of environment 3 is not finite." in out
    assert gpusim("watch", tmp_path / "nothing") == 2
    assert "there is no run folder" in capsys.readouterr().err
    assert gpusim("watch", "--every", "0") == 2
    assert "every must lie between" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_live_in_a_terminal_until_ctrl_c(run):
    import pty

    control, terminal = pty.openpty()
    command = [sys.executable, "-m", "gpusim.agents", "watch", str(run), "--every", "0.2"]
    environment = os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    seen, end = b"", time.monotonic() + 60
    while seen.count(b"1,280 of 1,280") < 3 and time.monotonic() < end:
        seen += os.read(control, 65536)
    process.send_signal(2)
    while time.monotonic() < end:
        try:
            seen += os.read(control, 65536)
        except OSError:
            break
    assert process.wait(10) == 0
    assert seen.count(b"1,280 of 1,280") >= 3
    assert b"Traceback" not in seen
    os.close(control)


def test_the_process_of_a_run_is_this_one(run):
    (found,) = Watching(None, run.parent).look().runs
    assert found.status.by == (os.getpid(), socket.gethostname())
    assert found.host_memory > 2**20


def test_the_work_of_the_host_is_not_forgotten_by_looking_at_a_process(monkeypatch):
    import psutil

    asked = []
    monkeypatch.setattr(psutil, "cpu_percent", lambda: asked.append(1) or 50.0)
    machine = Machine()
    Process().look()
    assert (machine.look().cpu, len(asked)) == (50.0, 2)  # a look in between would count the time since then alone
