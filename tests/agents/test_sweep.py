"""A search over settings: what is varied, trials that are runs, processes that share it and are killed, what is refused."""

import os
import signal
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from gpusim import InputError
from gpusim.agents.app.cli import main
from gpusim.agents.train import sweep
from gpusim.agents.train.run import RunFolder
from gpusim.agents.train.vary import Choice, Span, read

QUICK = ("--device", "cpu", "--total-steps", "4k")
VARY = ("--vary", "learning-rate=log:1e-4..1e-2", "num-steps=16,32")


def swept(capsys, *args, algorithm="ppo", env="CartPole-v1"):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", algorithm, env, *QUICK, *args])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def study(path):
    storage = sweep.JournalStorage(sweep.JournalFileBackend(str(path / sweep.JOURNAL)))
    return optuna.load_study(study_name="sweep", storage=storage)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1e-4..1e-2", Span(1e-4, 1e-2)), ("log:1e-4..1e-2", Span(1e-4, 1e-2, True)), ("8..64", Span(8, 64)),
        ("log:1k..10k", Span(1000, 10_000, True)), (".5...9", Span(0.5, 0.9)), ("-1..1", Span(-1, 1)),
        ("16,32", Choice(("16", "32"))), ("64 64, 256 256", Choice(("64 64", "256 256"))),
    ],
)  # fmt: skip
def test_what_is_varied_is_read(text, what):
    assert read("x", text) == what
    assert not isinstance(what, Span) or read("x", text).whole == isinstance(what.low, int)


@pytest.mark.parametrize("text", ["", "3", "3,3", "2..1", "log:0..1", "a..b", "1,,2", "nan..1", "1..inf"])
def test_what_cannot_be_varied_is_refused(text):
    with pytest.raises(InputError, match="cannot be varied over"):
        read("learning_rate", text)


def test_every_trial_is_a_run_with_the_settings_that_were_chosen(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = swept(capsys, *VARY, "--trials", "3", "--pruner", "none")
    assert code == 0
    path = tmp_path / "runs" / "sweep-ppo-CartPole-v1"
    trials = study(path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    for trial in trials:
        folder = RunFolder.open(path / f"trial-{trial.number:03}")
        assert folder.config.learning_rate == trial.params["learning_rate"]
        assert str(folder.config.num_steps) == trial.params["num_steps"]
        assert folder.result()["mean"] == trial.value
    best = max(trials, key=lambda trial: trial.value)
    assert f"gpusim eval runs/sweep-ppo-CartPole-v1/trial-{best.number:03} plays the best" in out
    assert all((path / f"{name}.png").stat().st_size > 5_000 for name in ("history", "slices", "importance"))
    assert swept(capsys, *VARY, "--trials", "4", "--pruner", "none")[0] == 0
    assert len(study(path).trials) == 4


def test_a_trial_that_does_worse_is_pruned(tmp_path):
    """By what it reports; the run ends there, and can be gone on with."""
    made = sweep.Sweep(tmp_path, "", "ppo", {"seed": Choice(("0", "1"))}, lambda values: None)
    trials = made.study(sweep.SAMPLERS["random"](0), optuna.pruners.ThresholdPruner(lower=100.0))

    class Learner:
        config = type("Config", (), {"iterations": 10})
        iteration = 2

    pruning = sweep.Pruning(trials.ask(made.distributions))
    pruning.reading(Learner, {"return": float("nan")})
    with pytest.raises(optuna.TrialPruned):
        pruning.reading(Learner, {"return": 99.0})
    assert trials.trials[0].intermediate_values == {20: 99.0}


def test_settings_that_do_not_go_together_fail_by_themselves(tmp_path, capsys):
    fixed = ("--num-envs", "8", "--num-steps", "8", "--sampler", "random", "--sampler-seed", "1")
    vary = ("--vary", "minibatches=2,1000", "--trials", "4", "--sweep-dir", str(tmp_path / "s"))
    code, out, _ = swept(capsys, *fixed, *vary)
    assert code == 0
    assert {trial.state for trial in study(tmp_path / "s").trials} == {TrialState.FAIL, TrialState.COMPLETE}
    assert "1000 minibatches cannot be made of" in out


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "sweep needs what to vary"),
        (("--vary", "learning-rat=1e-4..1e-2"), "ppo has no setting 'learning-rat' to vary"),
        (("--vary", "gamma=0.9..1.5"), "gamma must"),
        (("--vary", "hidden=64,x"), "hidden"),
        (("--vary", "gamma=0.9"), "give a span"),
        ((*VARY, "--sampler", "magic"), "sampler must be"),
        ((*VARY, "--trials", "0"), "trials must be at least 1"),
        ((*VARY, "--run-dir", "x"), "give --sweep-dir"),
        ((*VARY, "--moons", "3"), "--moons"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(args, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = swept(capsys, *args)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_sweep_is_refused(tmp_path, capsys):
    place = ("--sweep-dir", str(tmp_path / "s"))
    made = ("--vary", "gamma=0.9..0.99", "--trials", "1", *place)
    assert swept(capsys, *made)[0] == 0
    code, _, err = swept(capsys, "--vary", "gamma=0.5..0.99", *place)
    assert (code, "holds the sweep" in err) == (2, True)
    assert swept(capsys, *made, "--seed", "3")[0] == 2


@pytest.mark.slow
def test_two_processes_share_a_study_and_one_that_is_killed_leaves_its_trial_to_the_other(tmp_path):
    command = [sys.executable, "-m", "gpusim.agents", "sweep", "ppo", "CartPole-v1", *QUICK, "--total-steps", "60k", *VARY,
               "--trials", "8", "--pruner", "none", "--sweep-dir", str(tmp_path)]  # fmt: skip
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    while not list(tmp_path.glob("trial-*/metrics.jsonl")):
        time.sleep(0.05)
        assert both[0].poll() is None
    both[0].kill()
    assert both[0].wait() == -signal.SIGKILL
    assert both[1].wait(timeout=300) == 0
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=300)
    trials = study(tmp_path).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    assert len({str(trial.params) for trial in trials}) == 8
    assert all((tmp_path / f"trial-{trial.number:03}" / "result.json").exists() for trial in trials)


@pytest.mark.slow
def test_ctrl_c_leaves_a_search_that_goes_on(tmp_path):
    command = [sys.executable, "-m", "gpusim.agents", "sweep", "ppo", "CartPole-v1", *QUICK, "--total-steps", "400k", *VARY,
               "--trials", "1", "--sweep-dir", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    while not list(tmp_path.glob("trial-*/metrics.jsonl")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "the same command goes on with the search" in out) == (130, True)
    assert [trial.state for trial in study(tmp_path).trials] == [TrialState.RUNNING]
    steps = RunFolder.open(tmp_path / "trial-000").newest_iteration()
    assert steps > 0
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=300)
    assert [trial.state for trial in study(tmp_path).trials] == [TrialState.COMPLETE]
