"""A run folder: what is in it, and that a run stopped anywhere ends where the unbroken one ends."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from gpusim.agents import load_policy
from gpusim.agents.app.cli import main
from gpusim.agents.train import monitor
from gpusim.agents.train.evaluate import evaluate_oracle
from gpusim.agents.train.run import RunFolder, preset
from gpusim.errors import InputError

SMALL = [
    "--num-envs",
    "4",
    "--num-steps",
    "16",
    "--minibatches",
    "2",
    "--total-steps",
    "1280",
    "--checkpoint-every",
    "4",
]


def gpusim(*args):
    """The exit code."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    return exit_.value.code


def train(folder, *extra, env="CartPole-v1", algorithm="ppo"):
    return gpusim("train", algorithm, env, *SMALL, "--run-dir", folder, *extra)


def leaves(tree, name=""):
    if isinstance(tree, dict):
        return {k: v for key, sub in tree.items() for k, v in leaves(sub, f"{name}/{key}").items()}
    return {name: tree}


def final_state(folder):
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    return leaves(torch.load(newest, weights_only=True)["state"])


def assert_same_end(one, other):
    a, b = final_state(one), final_state(other)
    assert a.keys() == b.keys()
    assert any(name.startswith("/network/actor.0") for name in a)
    different = [k for k in a if not (torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k])]
    assert not different


def readings(folder):
    """Without what is measured of time and machine."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = {"seconds", "time", "steps_per_second", *monitor.NAMES}
    return [{k: v for k, v in m.items() if k not in measured} for m in lines]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(folder) == 0
    return folder


def test_the_folder_holds_what_it_should(unbroken):
    config = json.loads((unbroken / "config.json").read_text())
    assert config["algorithm"] == "ppo"
    assert config["config"]["num_envs"] == 4
    assert [m["iteration"] for m in readings(unbroken)] == list(range(1, 21))
    assert readings(unbroken)[-1]["steps"] == 1280
    assert len(list((unbroken / "checkpoints").iterdir())) == 3
    assert (unbroken / "curve.png").read_bytes()[:4] == b"\x89PNG"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(unbroken / "tensorboard")).Reload().Tags()["scalars"]
    assert {"episode/return", "loss/value", "learning/explained_variance", "schedule/learning_rate"} <= set(shown)
    assert "time/steps_per_second" in shown
    assert json.loads((unbroken / "result.json").read_text())["episodes"] == 100


def test_the_same_seed_gives_the_same_run_and_another_seed_another(unbroken, tmp_path):
    assert train(tmp_path / "again") == 0
    assert_same_end(unbroken, tmp_path / "again")
    assert train(tmp_path / "other", "--seed", "1") == 0
    with pytest.raises(AssertionError):
        assert_same_end(unbroken, tmp_path / "other")


@pytest.mark.parametrize(
    ("env", "extra"),
    [
        ("CartPole-v1", []),
        ("Pendulum-v1", ["--normalize-obs", "--normalize-reward", "--target-kl", "0.1"]),
        ("StatelessPendulum-v1", ["--network", "mingru", "--shared-memory", "--precision", "fp16"]),
    ],
)
def test_a_run_resumed_from_any_checkpoint_ends_like_the_unbroken_one(env, extra, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(whole, *extra, env=env) == 0
    assert train(broken, *extra, env=env) == 0
    for checkpoint in sorted((broken / "checkpoints").glob("*.pt"))[1:]:
        checkpoint.unlink()
    assert gpusim("resume", broken) == 0
    assert_same_end(whole, broken)
    assert readings(whole) == readings(broken)


def test_reinforce_resumes_too(tmp_path):
    args = ["--num-envs", "4", "--episode-steps", "20", "--total-steps", "800", "--checkpoint-every", "5"]
    for name in ("whole", "broken"):
        assert gpusim("train", "reinforce", "CartPole-v1", *args, "--run-dir", tmp_path / name) == 0
    sorted((tmp_path / "broken" / "checkpoints").glob("*.pt"))[-1].unlink()
    assert gpusim("resume", tmp_path / "broken") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "broken")


def start(folder, total="200000", *extra):
    args = ["train", "ppo", "CartPole-v1", *SMALL, "--run-dir", str(folder), "--total-steps", total, *extra]
    return subprocess.Popen(
        [sys.executable, "-m", "gpusim.agents", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(folder, process):
    deadline = time.monotonic() + 120
    while not list((folder / "checkpoints").glob("*.pt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("extra", [[], ["--network", "gru"]], ids=["", "gru"])
def test_a_run_killed_outright_and_resumed_ends_bit_for_bit_like_the_unbroken_one(extra, tmp_path):
    """One whose network remembers stops in the midst of episodes."""
    folder, steps = tmp_path / "killed", "12800"
    process = start(folder, steps, *extra)
    wait_for_checkpoint(folder, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert gpusim("resume", folder) == 0
    assert train(tmp_path / "whole", "--total-steps", steps, *extra) == 0
    assert_same_end(tmp_path / "whole", folder)


def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path / "run")
    wait_for_checkpoint(tmp_path / "run", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: gpusim resume {tmp_path / 'run'}" in out
    assert err == ""
    stopped_at = readings(tmp_path / "run")[-1]["iteration"]
    assert final_state(tmp_path / "run")["/iteration"] == stopped_at


@pytest.mark.slow
def test_a_target_ends_the_run_early(tmp_path, capsys):
    assert train(tmp_path / "run", "--total-steps", "64000", "--target-return", "15") == 0
    assert "reached" in capsys.readouterr().out
    last = readings(tmp_path / "run")[-1]
    assert last["return"] >= 15
    assert last["episodes"] >= 100
    assert last["steps"] < 64000


def test_a_finished_run_says_so(unbroken, capsys):
    assert gpusim("resume", unbroken) == 0
    assert "is complete" in capsys.readouterr().out


def test_the_policy_is_loaded_and_played(unbroken):
    mode, drawn = load_policy(unbroken, deterministic=True), load_policy(unbroken)
    obs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    assert mode(obs).shape == (64,)
    assert mode(obs).dtype == torch.int64
    assert torch.equal(mode(obs), mode(obs))
    assert not torch.equal(drawn(obs), drawn(obs))
    assert isinstance(mode(obs.numpy()), np.ndarray)
    with pytest.raises(InputError, match=r"shape \(N, 4\)"):
        mode(obs[0])


@pytest.mark.parametrize("oracle", [[], ["--oracle"]], ids=["gpusim", "gymnasium"])
def test_eval_plays_whole_episodes(unbroken, oracle, capsys):
    assert gpusim("eval", unbroken, "--episodes", "5", *oracle) == 0
    out = capsys.readouterr().out
    assert "over 5 episodes" in out
    assert ("Gymnasium" in out) == bool(oracle)


def test_an_oracle_is_found_without_the_namespace():
    """MuJoCo/InvertedPendulum-v5 is Gymnasium's InvertedPendulum-v5."""
    scores = evaluate_oracle(lambda obs: np.zeros((len(obs), 1), np.float32), "MuJoCo/InvertedPendulum-v5", 2, 0)
    assert scores.shape == (2,)
    assert (scores > 1.0).all()


# ------------------------------------------------------------------------------------------------------ bad input


def refused(capsys, *args):
    """The sentence, after checking that it is one line and the code 2."""
    assert gpusim(*args) == 2
    out, err = capsys.readouterr()
    assert err.startswith("gpusim: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


def test_bad_runs_are_refused(unbroken, tmp_path, capsys):
    assert "no run folder" in refused(capsys, "resume", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refused(capsys, "eval", tmp_path / "empty")
    before = {p: p.read_bytes() for p in unbroken.rglob("*") if p.is_file()}
    assert "exists already" in refused(capsys, "train", "ppo", "CartPole-v1", "--run-dir", unbroken)
    assert before == {p: p.read_bytes() for p in unbroken.rglob("*") if p.is_file()}


def test_a_configuration_that_lacks_a_field_is_damaged(unbroken, tmp_path, capsys):
    """The default in its place would be another run's; an older gpusim may know fewer fields."""
    folder = copy(unbroken, tmp_path)
    content = json.loads((folder / "config.json").read_text())
    del content["config"]["total_steps"]
    (folder / "config.json").write_text(json.dumps(content))
    assert "config.json is damaged: it lacks total_steps." in refused(capsys, "resume", folder)
    (folder / "config.json").write_text(json.dumps(content | {"gpusim": "0.0.9"}))
    assert RunFolder.open(folder).config.total_steps == preset("ppo", "CartPole-v1").total_steps


def copy(unbroken, tmp_path):
    import shutil

    return shutil.copytree(unbroken, tmp_path / "copy")


def cut_short(content):
    return content[: len(content) // 2]


def flipped(content):
    """One bit of the largest tensor."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = archive.read(max(archive.infolist(), key=lambda record: record.file_size))
    place = content.index(largest) + len(largest) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut_short, flipped])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(damage, unbroken, tmp_path, capsys):
    folder = copy(unbroken, tmp_path)
    first, second, last = sorted((folder / "checkpoints").glob("*.pt"))
    content = damage(last.read_bytes())
    last.write_bytes(content)
    said = f"gpusim: the checkpoint {last} is cut short or damaged; {second.name}, the one before it, is taken.\n"
    for command in (["eval", "--episodes", "2"], ["resume"]):
        assert gpusim(command[0], folder, *command[1:]) == 0
        assert capsys.readouterr().err == said
    assert_same_end(unbroken, folder)
    assert readings(folder) == readings(unbroken)
    assert (folder / "checkpoints" / f"{last.name}.damaged").read_bytes() == content
    for checkpoint in (folder / "checkpoints").glob("*.pt"):
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    assert "and so are the 2 before it: there is nothing left to go on from" in refused(capsys, "resume", folder)
    assert first.exists()


def test_another_version_and_a_changed_configuration_are_refused(unbroken, tmp_path, capsys):
    folder = copy(unbroken, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99, "gpusim": "9.0"}))
    assert "written by gpusim 9.0" in refused(capsys, "resume", folder)
    (folder / "config.json").write_text(json.dumps(config | {"config": config["config"] | {"frobnicate": 1}}))
    assert "'frobnicate'" in refused(capsys, "eval", folder)
    (folder / "config.json").write_text(json.dumps(config | {"config": config["config"] | {"hidden": [8]}}))
    assert "does not fit" in refused(capsys, "eval", folder)
    assert "does not fit" in refused(capsys, "resume", folder)
    (folder / "config.json").write_text("{")
    assert "damaged" in refused(capsys, "eval", folder)


def test_a_run_without_a_checkpoint_begins_again(unbroken, tmp_path, capsys):
    folder = copy(unbroken, tmp_path)
    for checkpoint in (folder / "checkpoints").iterdir():
        checkpoint.unlink()
    assert f"it has no checkpoint yet; `gpusim resume {folder}` goes on with it" in refused(capsys, "eval", folder)
    assert gpusim("resume", folder) == 0
    assert "going on from step 0" in capsys.readouterr().out
    assert_same_end(unbroken, folder)
    assert readings(folder) == readings(unbroken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere, so nothing is refused")
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "cannot be written" in refused(capsys, "train", "ppo", "CartPole-v1", "--run-dir", tmp_path / "run")


def test_a_metrics_line_cut_short_is_made_anew(unbroken, tmp_path):
    folder = copy(unbroken, tmp_path)
    sorted((folder / "checkpoints").glob("*.pt"))[-1].unlink()
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text[:-40])
    assert gpusim("resume", folder) == 0
    assert readings(folder) == readings(unbroken)
