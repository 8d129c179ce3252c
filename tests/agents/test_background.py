"""Runs in the background: started, listed, followed, stopped, and told when they are no longer there."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from gpusim.agents.app.commands.runs import short
from gpusim.agents.app.status import status
from gpusim.agents.folder.lock import Holder, holds, locked, look
from gpusim.agents.train.run import LOCK, LOG, STOPPED, RunFolder
from gpusim.errors import InputError
from tests.agents.test_run import assert_same_end, gpusim, train


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ended"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(ended, tmp_path):
    return shutil.copytree(ended, tmp_path / "run")


@contextlib.contextmanager
def held(run, note):
    """The run's lock, in the file of which somebody has written something."""
    with locked(run / LOCK, "the run"):
        (run / LOCK).write_text(note)
        yield


# ------------------------------------------------------------------------------------------------------------- lock


def test_a_lock_says_who_holds_it_and_lets_itself_be_looked_at(tmp_path):
    path = tmp_path / "lock"
    assert look(path) == (False, None)
    with locked(path, "it"):
        assert look(path) == (True, Holder(os.getpid(), socket.gethostname()))
        assert holds(look(path).by, path)
        assert not holds(Holder(os.getppid(), socket.gethostname()), path)
        assert not holds(Holder(os.getpid(), "elsewhere"), path)
        with pytest.raises(InputError, match="in use by process"), locked(path, "it"):
            pass
    assert look(path) == (False, None)
    path.write_text("process 7 on elsewhere")
    assert look(path) == (False, Holder(7, "elsewhere"))
    path.write_bytes(b"\xff\0process")
    assert look(path) == (False, None)


def test_whoever_only_looks_keeps_nobody_out(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    with open(path) as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        over = threading.Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        over.start()
        with locked(path, "it"):
            assert look(path).now
        over.join()


# ----------------------------------------------------------------------------------------------------------- status


def test_a_folder_tells_how_its_run_stands(run):
    found = status(run)
    assert (found.state, found.steps, found.total) == ("complete", 1280, 1280)
    assert found.device.startswith("cpu, ")
    assert f"`gpusim resume {run} --total-steps ...` makes more of it" in found.ended()
    (run / "result.json").unlink()
    assert status(run).state == "stopped"
    (run / LOCK).write_text("process 12345 on somewhere")
    assert status(run).state == "killed"
    assert "process 12345 on somewhere was killed at step 1,280 of 1,280" in status(run).ended()
    (run / STOPPED).write_text(json.dumps({"sentence": "the reward is not finite."}))
    assert status(run).state == "not finite"
    assert "the reward is not finite." in status(run).ended()
    with held(run, f"process {os.getpid()} on {socket.gethostname()}"):
        assert status(run).state == "running"
        assert status(run).left == 0
    (run / STOPPED).unlink()
    (run / "metrics.jsonl").unlink()
    (run / LOG).write_text("compiling ...\ngpusim: there was no room.\n")
    (run / LOCK).unlink()
    found = status(run)
    assert found.state == "not begun"
    assert "it has not begun (there was no room)" in found.ended()


def test_a_reading_that_is_being_written_is_not_taken_for_one(run):
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 21, "steps": 13')
    assert status(run).steps == 1280


def test_runs_lists_those_that_run_first(run, tmp_path, capsys, monkeypatch):
    other = shutil.copytree(run, tmp_path / "other [red]")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    with held(other, f"process {os.getpid()} on {socket.gethostname()}"):
        assert gpusim("runs", tmp_path) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines() if str(tmp_path) in line]
    assert [row[:2] for row in rows] == [[f"{tmp_path}/other", "[red]"], [f"{tmp_path}/run", "complete"]]
    assert "running" in rows[0]
    assert "broken" in said.err
    monkeypatch.chdir(tmp_path)
    assert gpusim("runs") == 2
    assert "there is no folder runs here" in capsys.readouterr().err
    assert gpusim("runs", "nowhere") == 2
    assert "there is no folder nowhere" in capsys.readouterr().err


def test_numbers_are_short():
    assert [short(x) for x in (3, 999, 1234, 5_000_000, 2.5e9)] == ["3", "999", "1.23 k", "5 M", "2.5 G"]


# ------------------------------------------------------------------------------------------------------------- logs


def test_logs(run, capsys):
    assert gpusim("logs", run.parent / "nothing") == 2
    assert "there is no run folder" in capsys.readouterr().err
    assert gpusim("logs", run) == 2
    assert "was not started by --detach" in capsys.readouterr().err
    (run / LOG).write_text("one\ntwo\nthree\n")
    assert gpusim("logs", run, "--lines", "2") == 0
    assert capsys.readouterr().out == "two\nthree\n"
    assert gpusim("logs", run, "-f") == 0  # of a run that has ended it ends
    assert capsys.readouterr().out == "one\ntwo\nthree\n"
    assert gpusim("logs", run, "--lines", "0") == 2


def test_logs_are_followed_to_the_end_of_the_run(run, capsys, monkeypatch):
    (run / LOG).write_text("one\n")
    turns = iter([(True, "two\n"), (True, ""), (False, "last\n"), (False, "")])

    def turn(folder):
        goes_on, text = next(turns)
        with open(run / LOG, "a") as log:
            log.write(text)
        return look(run / LOCK)._replace(now=goes_on)

    monkeypatch.setattr(RunFolder, "held", turn)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert gpusim("logs", run, "-f") == 0
    assert capsys.readouterr().out == "one\ntwo\nlast\n"


# ------------------------------------------------------------------------------------------------------------- stop


def test_what_does_not_run_is_not_stopped_and_the_sentence_says_how_it_ended(run, capsys, monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda *args: killed.append(args))
    assert gpusim("stop", run.parent / "nothing") == 2
    assert "there is no run folder" in capsys.readouterr().err
    assert gpusim("stop", run) == 2
    assert "is not running: it is complete" in capsys.readouterr().err
    (run / LOCK).write_text(f"process 1 on {socket.gethostname()}")
    (run / "result.json").unlink()
    assert gpusim("stop", run) == 2
    assert "was killed at step" in capsys.readouterr().err
    for note, sentence in (
        ("process 7 on elsewhere\n", "runs as process 7 on elsewhere: stop it there"),
        ("", "has not said which it is"),
        (
            f"process {os.getppid()} on {socket.gethostname()}\n",
            "cannot be seen from here",
        ),  # which runs something else
    ):
        with held(run, note):
            assert gpusim("stop", run) == 2
        assert sentence in capsys.readouterr().err
    assert killed == []


# ------------------------------------------------------------------------------------------------------- the whole way


def test_what_is_wrong_is_said_before_anything_is_started(run, capsys):
    assert train(run, "--detach") == 2
    assert "exists already" in capsys.readouterr().err
    assert train(run.parent / "new", "--gamma", "3", "--detach") == 2
    assert "gamma must lie between" in capsys.readouterr().err
    assert not (run.parent / "new").exists()
    with held(run, "process 7 on elsewhere"):
        assert gpusim("resume", run, "--detach") == 2
    assert "in use by process 7 on elsewhere" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_in_the_background_ends_like_one_in_the_foreground(ended, tmp_path, capsys):
    assert train(tmp_path / "run", "--detach") == 0
    assert "gpusim stop" in capsys.readouterr().out
    assert gpusim("logs", tmp_path / "run", "-f") == 0
    assert "the policy's mode scores" in capsys.readouterr().out
    assert_same_end(ended, tmp_path / "run")
    assert status(tmp_path / "run").state == "complete"


@pytest.mark.slow
def test_a_run_in_the_background_is_stopped_and_killed_and_goes_on(tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(folder, "--total-steps", "100000000", "--detach") == 0
    by = look(folder / LOCK).by
    assert os.getsid(by.pid) == by.pid != os.getsid(0)
    os.kill(by.pid, signal.SIGHUP)  # what a terminal that ends would send
    time.sleep(1)
    found = status(folder)
    assert found.running
    assert found.steps > 0
    assert gpusim("resume", folder) == 2
    assert "in use by process" in capsys.readouterr().err
    assert gpusim("stop", folder) == 0
    assert "it ended at step" in capsys.readouterr().out
    found = status(folder)
    assert found.state == "stopped"
    assert found.kept == found.steps
    assert gpusim("resume", folder, "--detach") == 0
    by = look(folder / LOCK).by
    os.kill(by.pid, signal.SIGKILL)
    os.waitpid(by.pid, 0)
    assert status(folder).state == "killed"
    assert f"{by} was killed" in status(folder).ended()


@pytest.mark.slow
def test_a_run_that_ends_at_once_says_why(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import sys, gpusim\n"
        "if 'resume' in sys.argv:\n    raise gpusim.InputError('it is broken by now.')\n"
        "gpusim.register(gpusim.spec('CartPole-v1').with_reward(lambda s, a, n, r, t, p: r, id='Mine-v0'))\n"
    )
    assert train(tmp_path / "run", "--detach", env=f"{tmp_path / 'mine.py'}:Mine-v0") == 2
    assert "broken by now" in capsys.readouterr().out
    found = status(tmp_path / "run")
    assert found.state == "not begun"
    assert f"`gpusim resume {tmp_path / 'run'} --trust` begins it" in found.ended()
