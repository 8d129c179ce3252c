"""What a run survives: full disks, folders that are gone, other processes, signals, plain terminals, closed pipes."""

import contextlib
import errno
import fcntl
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import gpusim.agents.train.evaluate
from gpusim.agents.app.cli import main
from gpusim.agents.app.display import Display
from gpusim.agents.folder import lock
from gpusim.agents.folder.checkpoints import Checkpoints, read
from gpusim.agents.folder.lock import locked
from gpusim.agents.folder.metrics import Metrics
from gpusim.agents.ppo import Config
from gpusim.agents.train import console
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import RunFolder, make_learner, preset
from gpusim.checks import later_seed
from gpusim.errors import InputError
from tests.agents.test_run import assert_same_end, readings

SMALL = {"num_envs": 4, "num_steps": 16, "minibatches": 2, "total_steps": 640, "checkpoint_every": 2, "device": "cpu"}
FLAGS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def gpusim_(*args):
    """The exit code."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


def train(folder, *extra):
    return gpusim_("train", "ppo", "CartPole-v1", *FLAGS, "--run-dir", folder, *extra)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(folder) == 0
    return folder


def result(folder):
    """But for its time."""
    return {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k != "seconds"}


class At(Observer):
    """Does something after so many readings."""

    def __init__(self, **todo):
        self.todo = {int(name[1:]): do for name, do in todo.items()}

    def reading(self, learner, metrics):
        if do := self.todo.get(int(metrics["iteration"])):
            do()


# ------------------------------------------------------------------------------------------------------------ disks


@contextlib.contextmanager
def no_file_longer_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_training_that_nothing_of_can_be_written_goes_on_and_says_so(unbroken, tmp_path, capsys):
    with no_file_longer_than(1500):
        code = train(tmp_path / "run")
    out, err = capsys.readouterr()
    assert code == 1
    assert "the policy's mode scores" in out
    *said, last = err.splitlines()
    assert {line.split(" of ")[0] for line in said} == {
        "gpusim: the checkpoint", "gpusim: TensorBoard's events", "gpusim: metrics.jsonl", "gpusim: curve.png",
    }  # fmt: skip
    assert len(said) == 4
    assert all(line.endswith("cannot be written (File too large); the run goes on.") for line in said)
    assert "not everything of" in last
    assert "metrics.jsonl (File too large)" in last
    assert result(tmp_path / "run") == result(unbroken)
    assert not list((tmp_path / "run").rglob("*.part"))
    (tmp_path / "run" / "result.json").unlink()
    assert gpusim_("resume", tmp_path / "run") == 0  # from the beginning, as nothing else was kept
    assert_same_end(unbroken, tmp_path / "run")
    assert readings(tmp_path / "run") == readings(unbroken)


def test_a_run_that_is_killed_before_its_curve_is_drawn_gets_it_by_resume(unbroken, tmp_path, capsys):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    (folder / "curve.png").unlink()
    assert gpusim_("resume", folder) == 0
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert result(folder) == result(unbroken)


def test_what_could_not_be_written_for_a_while_is_written_after_all(unbroken, tmp_path, capsys):
    config = preset("ppo", "CartPole-v1", **SMALL)
    folder = RunFolder.create(tmp_path / "run", "ppo", config)
    full = no_file_longer_than(1000)
    run(make_learner("ppo", config), (At(_2=full.__enter__, _8=lambda: full.__exit__(None, None, None)), folder))
    folder.close()
    assert {what: why for what, why in folder.lost.items() if "Tensor" not in what} == {}
    assert folder.metrics() == Metrics(tmp_path / "run" / "metrics.jsonl").read()
    assert [reading["iteration"] for reading in folder.metrics()] == list(range(1, 11))
    assert_same_end(unbroken, tmp_path / "run")
    assert capsys.readouterr().err.count("the checkpoint") == 1


def test_a_folder_that_is_gone_does_not_end_the_training(tmp_path, capsys):
    config = Config(**SMALL)
    folder = RunFolder.create(tmp_path / "run", "ppo", config)
    ended = run(make_learner("ppo", config), (At(_3=lambda: shutil.rmtree(tmp_path / "run")), folder))
    folder.close({"mean": 0.0})
    assert ended.ending == "complete"
    assert {"the checkpoint", "metrics.jsonl", "result.json"} <= set(folder.lost)
    assert "No such file or directory" in capsys.readouterr().err


def test_a_new_folder_on_a_full_disk_is_refused_in_a_sentence(tmp_path, capsys):
    with no_file_longer_than(100):
        assert train(tmp_path / "run") == 2
    assert capsys.readouterr().err == f"gpusim: the run folder {tmp_path / 'run'} cannot be made: File too large.\n"
    assert train(tmp_path / "run", "--total-steps", "64") == 0  # what is left of it is no run


def test_only_what_we_wrote_is_deleted(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    others = [tmp_path / "run" / "checkpoints" / name for name in ("best.pt", "0000001.pt", "00000001.pt.bak")]
    for path in others:
        path.write_bytes(b"mine")
    assert gpusim_("resume", tmp_path / "run", "--total-steps", "1280") == 0
    assert [path.read_bytes() for path in others] == [b"mine"] * 3
    names = [path.name for path in Checkpoints(tmp_path / "run" / "checkpoints").files()]
    assert names == ["00000016.pt", "00000018.pt", "00000020.pt"]


def test_no_file_outside_the_folder_is_written_through_a_link(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    mine = tmp_path / "mine"
    mine.write_text("untouched")
    for name in ("metrics.jsonl", "result.json", "curve.png", "config.json.part", "run.lock"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
        (tmp_path / "run" / name).symlink_to(mine)
    assert gpusim_("resume", tmp_path / "run", "--total-steps", "1280") == 2  # the lock
    (tmp_path / "run" / "run.lock").unlink()
    assert gpusim_("resume", tmp_path / "run", "--total-steps", "1280") == 0
    assert mine.read_text() == "untouched"
    assert readings(tmp_path / "run")[-1]["steps"] == 1280


def test_damaged_lines_of_the_readings_are_passed_over(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    whole = Metrics(unbroken / "metrics.jsonl").read()
    path.write_bytes(
        b"".join([lines[0], b"\n", b"\xff\xfe\n", lines[1][:20] + b"\n", *lines[2:], b"{}\n", lines[0][:9]])
    )
    assert Metrics(path).read() == [whole[0], *whole[2:]]
    sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1].unlink()
    assert gpusim_("resume", tmp_path / "run") == 0
    assert readings(tmp_path / "run") == [readings(unbroken)[0], *readings(unbroken)[2:]]


# ---------------------------------------------------------------------------------------------------- other processes


def test_runs_that_begin_together_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(**SMALL)
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(RunFolder.create_new, "ppo", config) for _ in range(8)]
        assert len({folder.result().path for folder in made}) == 8
        same = [pool.submit(RunFolder.create, tmp_path / "same", "ppo", config) for _ in range(8)]
    refused = [str(error) for error in (folder.exception() for folder in same) if error]
    assert len(refused) == 7
    assert all("exists already" in sentence or "is in use by" in sentence for sentence in refused)


def test_a_folder_in_use_is_refused_and_a_killed_holder_holds_nothing(unbroken, tmp_path, capsys):
    shutil.copytree(unbroken, tmp_path / "run")
    lock = tmp_path / "run" / "run.lock"
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('process 7 on far', file=f, flush=True); print(flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    try:
        assert gpusim_("resume", tmp_path / "run") == 2
        err = capsys.readouterr().err
        assert (
            err
            == f"gpusim: the run folder {tmp_path / 'run'} is in use by process 7 on far; wait for it, or stop it first.\n"
        )
        assert gpusim_("eval", tmp_path / "run", "--episodes", "2") == 0
    finally:
        holder.kill()
        holder.communicate()
    assert gpusim_("resume", tmp_path / "run") == 0
    assert lock.read_text() == ""


def test_a_child_does_not_keep_its_parents_lock(tmp_path):
    path, (reader, writer) = tmp_path / "run.lock", os.pipe()
    with locked(path, "it"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
        with warnings.catch_warnings(action="ignore"):
            child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        with pytest.raises(InputError, match=f"it is in use by process {os.getpid()} on "), locked(path, "it"):
            pass
    with locked(path, "it"):
        pass
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0


def test_a_lock_ends_with_its_holder_though_a_child_has_it_open(tmp_path):
    path, child = tmp_path / "run.lock", 0
    with locked(path, "it"):
        child = os.dup(next(iter(lock._held)))  # as after a fork, before the child's first step
    with locked(path, "it"):
        pass
    os.close(child)


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def none(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "run.lock", "the run folder r", console.warn):
        assert "this file system has no locks (No locks available)" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ other code

QUITS = """
import sys
from dataclasses import replace
import gpusim
from gpusim.envs.classic.cartpole import CARTPOLE

steps = 0


def step(state, action, rng, params):
    global steps
    steps += 1
    if steps > 100:
        sys.exit({})
    return CARTPOLE.step(state, action, rng, params)


gpusim.register(replace(CARTPOLE, id="Quits{}-v0", step=step))
"""


@pytest.mark.parametrize(("status", "code"), [("", 1), (3, 3)])
def test_an_environment_that_calls_sys_exit_ends_no_run_without_a_word(status, code, tmp_path, capsys):
    file = tmp_path / "quits.py"
    file.write_text(QUITS.format(status, code))
    own = f"{file}:Quits{code}-v0"
    assert gpusim_("train", "ppo", own, *FLAGS, "--backend", "eager", "--run-dir", tmp_path / "run") == code
    said = "gpusim: quits.py, line 14, called sys.exit: the command ended there.\n"
    assert capsys.readouterr().err == said


# ------------------------------------------------------------------------------------------------------- going on


def test_the_clock_goes_on(tmp_path):
    config = Config(**SMALL | {"log_every": 100, "total_steps": 256})
    folder = RunFolder.create(tmp_path / "run", "ppo", config)
    ended = run(make_learner("ppo", config), (folder,), seconds=100.0)
    assert ended.metrics[-1]["seconds"] > 100
    folder.close()
    for path in folder.checkpoints.files():
        assert read(path, torch.device("cpu")).seconds > 100


def test_a_finished_run_goes_on_to_more_steps(unbroken, tmp_path, capsys):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    assert gpusim_("resume", folder, "--total-steps", "1280", "--checkpoint-every", "5") == 0
    assert "going on from step 640, its schedules stretched to the new total" in capsys.readouterr().out
    assert [m["iteration"] for m in readings(folder)] == list(range(1, 21))
    assert readings(folder)[:10] == readings(unbroken)
    assert json.loads((folder / "result.json").read_text())["steps"] == 1280
    assert RunFolder.open(folder).config.total_steps == 1280
    assert gpusim_("resume", folder) == 0
    assert "is complete: all 1,280 steps were made; --total-steps makes more of them" in capsys.readouterr().out
    for args, sentence in [
        (["--total-steps", "640"], "has made 1,280 steps already: total_steps must be more"),
        (["--gamma", "0.5"], "gamma cannot be changed in a run, as what it has learned stands on it"),
        (["--num-envs=8"], "num_envs cannot be changed in a run"),
        (["--no-anneal"], "anneal cannot be changed in a run"),
    ]:
        assert gpusim_("resume", folder, *args) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert err.count("\n") == 1


@pytest.mark.slow
def test_a_target_that_was_reached_is_not_sought_again(tmp_path, capsys):
    assert train(tmp_path / "run", "--total-steps", "64000", "--target-return", "15") == 0
    steps = json.loads((tmp_path / "run" / "result.json").read_text())["steps"]
    assert steps < 64000
    capsys.readouterr()
    assert gpusim_("resume", tmp_path / "run") == 0
    assert f"reached its target after {steps:,} steps; --target-return sets another" in capsys.readouterr().out


def test_a_closing_evaluation_that_was_stopped_is_made_by_resume(unbroken, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(gpusim.agents.train.evaluate, "evaluate", lambda *args: signal.raise_signal(signal.SIGTERM))
        assert train(tmp_path / "run") == 143
    said = f"stopped in the closing evaluation, after all 640 steps; finish it with: gpusim resume {tmp_path / 'run'}\n"
    assert capsys.readouterr().out.endswith(said)
    assert not (tmp_path / "run" / "result.json").exists()
    assert gpusim_("resume", tmp_path / "run") == 0
    assert result(tmp_path / "run") == result(unbroken)
    assert (tmp_path / "run" / "curve.png").exists()
    assert_same_end(unbroken, tmp_path / "run")


# --------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_the_iteration_and_the_second_ends_at_once(name, code, unbroken, tmp_path, monkeypatch, capsys):
    number = signal.Signals[name]
    here = "stopped at step 320; go on with: gpusim resume {}\n"
    before = "stopped at step 256; go on with: gpusim resume {} (from step 128, the last that was kept)\n"
    for times, said in ((1, here), (2, before)):
        folder = tmp_path / f"{name}-{times}"

        def reading(self, learner, metrics, times=times):
            if metrics["iteration"] == 4:
                for _ in range(times):
                    signal.raise_signal(number)

        with monkeypatch.context() as patched:
            patched.setattr(Display, "reading", reading)
            assert train(folder) == code
        out, err = capsys.readouterr()
        assert out.endswith(said.format(folder))
        assert err == ""
        assert gpusim_("resume", folder) == 0
        assert_same_end(unbroken, folder)
        capsys.readouterr()


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_no_way_on_is_told_where_the_folder_was_moved_away(where, tmp_path, monkeypatch, capsys):
    def moved(*args):
        if not (tmp_path / "elsewhere").exists():
            (tmp_path / "run").rename(tmp_path / "elsewhere")
            signal.raise_signal(signal.SIGTERM)

    if where == "training":
        monkeypatch.setattr(Display, "reading", moved)
    else:
        monkeypatch.setattr(gpusim.agents.train.evaluate, "evaluate", moved)
    assert train(tmp_path / "run") == 143
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f"; {tmp_path / 'run'} is no longer there to go on with")
    assert "gpusim resume" not in last
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_compiling_is_a_line_even_where_a_compiler_died_of_it(unbroken, tmp_path, monkeypatch, capsys):
    def iterate(self):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("g++ was interrupted")

    with monkeypatch.context() as patched:
        patched.setattr("gpusim.agents.ppo.PPO.iterate", iterate)
        assert train(tmp_path / "run") == 130
    out, err = capsys.readouterr()
    assert out.endswith(f"stopped at step 0; go on with: gpusim resume {tmp_path / 'run'}\n")
    assert err == ""
    assert gpusim_("resume", tmp_path / "run") == 0
    assert_same_end(unbroken, tmp_path / "run")


def test_ctrl_c_before_there_is_a_run_is_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gpusim.agents.ppo.PPO.__init__", lambda *args: signal.raise_signal(signal.SIGINT))
    assert train(tmp_path / "run") == 130
    assert capsys.readouterr().err == "gpusim: stopped\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_while_torch_is_imported_is_a_line(name, code):
    early = Path(gpusim.__file__).with_name("early.py")
    script = (
        f"import signal, sys; sys.argv[0] = 'bin/gpusim'; {{}}"
        f"exec(open({str(early)!r}).read()); signal.raise_signal(signal.{name})"
    )
    for before, ended in (
        ("", (code, "", "gpusim: stopped\n")),
        (f"signal.signal(signal.{name}, signal.SIG_IGN);", (0, "", "")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.format(before)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == ended
    with pytest.raises(KeyboardInterrupt):  # nothing is changed for others
        signal.raise_signal(signal.SIGINT)


def test_ignored_signals_stay_ignored(tmp_path, monkeypatch):
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(Display, "reading", lambda *args: signal.raise_signal(signal.SIGHUP))
        assert train(tmp_path / "run", "--total-steps", "128") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


# ---------------------------------------------------------------------------------------------------------- output


def test_an_ascii_terminal_loses_no_result(unbroken, monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert gpusim_("eval", unbroken, "--episodes", "2") == 0
    assert b" +- " in shown.getvalue()


@contextlib.contextmanager
def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream, contextlib.redirect_stdout(stream):
        yield


def test_a_closed_pipe_is_quiet(capsys):
    with closed_pipe():
        assert gpusim_("--help") == 141
    assert capsys.readouterr().err == ""


def test_a_training_that_nobody_reads_goes_on(unbroken, tmp_path, capsys):
    with closed_pipe():
        assert train(tmp_path / "run") == 0
    assert capsys.readouterr().err == ""
    assert result(tmp_path / "run") == result(unbroken)


def test_a_full_disk_under_the_output_is_told(monkeypatch, capsys, tmp_path):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert gpusim_("--help") == 1
        console.mute(full)
    assert capsys.readouterr().err.startswith("gpusim: the output cannot be written (No space left on device)")


def test_no_standard_output_at_all(monkeypatch, unbroken):
    monkeypatch.setattr(sys, "stdout", None)
    assert gpusim_("resume", unbroken) == 0
    sys.stdout.close()


def test_the_greatest_seeds_have_others_after_them(tmp_path):
    assert later_seed(5, 3) == 8
    assert later_seed(2**63 - 1, 10_000) == 9_999
    assert train(tmp_path / "run", "--seed", str(2**62), "--total-steps", "128") == 0
