"""Environments of one's own, named with their module or file: trained, found again, and run only where they are trusted."""

import json
import shutil
import sys

import gymnasium
import pytest

import gpusim
from gpusim import registry, source
from gpusim.adapters import from_gymnasium
from gpusim.agents import load_policy, ppo
from gpusim.agents.app.cli import main
from gpusim.agents.train import environments
from gpusim.agents.train.run import RunFolder, preset

HOSTED = """
import pathlib
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from beside import LENGTH

pathlib.Path(__file__).with_name("ran").touch()


class Own(gymnasium.Env):
    observation_space = Box(0.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def step(self, action):
        reward, self.t = float(action == self.right), self.t + 1
        return self.seen(), reward, self.t == LENGTH, False, {}

    def seen(self):
        self.right = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self.right]


gymnasium.register("Own-v0", "hosted_own:Own", reward_threshold=3.5)
"""

DEVICE = """
import pathlib
from dataclasses import replace
import gpusim
from gpusim.envs.classic.cartpole import CARTPOLE
from beside import LENGTH

pathlib.Path(__file__).with_name("ran").touch()
gpusim.register(replace(CARTPOLE, id="Lab/Own-v0", max_episode_steps=LENGTH, reward_threshold=3.5))
"""

RULE = """
import pathlib

def right(obs):
    pathlib.Path(__file__).with_name("ruled").touch()
    return obs[:, 0].long() * 0 + 1
"""

KINDS = {"hosted_own": "Own-v0", "device_own": "Lab/Own-v0"}
SMALL = ["--device", "cpu", "--num-envs", "2", "--hidden", "8"]
ALGORITHMS = {
    "ppo": ["--num-steps", "8", "--minibatches", "1", "--total-steps", "32"],
    "dqn": ["--n-step", "1", "--learning-starts", "16", "--batch-size", "8", "--capacity", "64", "--total-steps", "32"],
}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder to stand in, with modules of one's own; afterwards what they registered is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in (("hosted_own", HOSTED), ("device_own", DEVICE), ("beside", "LENGTH = 4\n"), ("rule", RULE)):
        (tmp_path / f"{name}.py").write_text(text)
    yield tmp_path
    forget(tmp_path)


def forget(folder):
    """As a new process would have it."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    for id in KINDS.values():
        registry._ENVS.pop(id, None)
        environments._HOSTED.pop(id, None)
        for name in (id, f"gpusim/{id.replace('/', '-')}"):
            gymnasium.registry.pop(name, None)
    (folder / "ran").unlink(missing_ok=True)
    sys.path[:] = [path for path in sys.path if not path.startswith(str(folder))]


def command(*args):
    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return exit_.value.code


def trained(where, id, algorithm="ppo", *args):
    assert command("train", algorithm, f"{where}:{id}", *SMALL, *ALGORITHMS[algorithm], "--run-dir", "run", *args) == 0


@pytest.mark.parametrize(
    ("where", "algorithm"),
    [("hosted_own", "ppo"), ("hosted_own.py", "dqn"), ("device_own", "dqn"), ("device_own.py", "ppo")],
)
def test_it_is_trained_and_found_again_from_elsewhere(where, algorithm, desk, monkeypatch, capsys):
    module = where.removesuffix(".py")
    id = KINDS[module]
    trained(where, id, algorithm)
    assert f"{id}: 2 environments" in capsys.readouterr().out
    elsewhere = desk / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{module}.py").write_text("raise ValueError('another of that name')\n")
    monkeypatch.chdir(elsewhere)
    forget(desk)
    for asked in (["eval", "../run", "--episodes", "2"], ["resume", "../run"]):
        assert command(*asked) == 2
        said = capsys.readouterr().err
        assert f"names code that would be run: {desk / module}.py. Look at it" in said
        assert said.count("\n") == 1
        assert not (desk / "ran").exists()
        assert command(*asked, "--trust") == 0
        assert (desk / "ran").exists()
        assert capsys.readouterr().err == ""
        forget(desk)


def test_a_run_that_was_stopped_goes_on_from_elsewhere(desk, monkeypatch, capsys):
    trained("hosted_own.py", "Own-v0", "ppo", "--checkpoint-every", "1")
    (desk / "run" / "checkpoints" / "00000002.pt").unlink()
    forget(desk)
    (desk / "elsewhere").mkdir()
    monkeypatch.chdir(desk / "elsewhere")
    assert command("resume", "../run", "--trust") == 0
    assert "going on from step 16 with new episodes" in capsys.readouterr().out


def test_what_changed_is_told_and_what_is_gone_is_replaced_by_its_copy(desk, capsys):
    trained("hosted_own", "Own-v0")
    file, copy = desk / "hosted_own.py", desk / "run" / "code" / "env" / "hosted_own.py"
    assert copy.read_text() == HOSTED
    forget(desk)
    file.write_text(HOSTED + "\n# improved\n")
    assert command("eval", "run", "--trust", "--episodes", "2") == 0
    told = capsys.readouterr().err
    assert told == f"gpusim: {file} has changed since the run began; as it was then, it is {copy}.\n"
    forget(desk)
    with pytest.warns(UserWarning, match="has changed since the run began"):
        load_policy("run", trust=True)
    forget(desk)
    file.unlink()
    shutil.copy(desk / "beside.py", copy.parent)
    assert command("eval", "run", "--episodes", "2") == 2
    assert f"would be run: {copy}." in capsys.readouterr().err
    assert command("eval", "run", "--trust", "--episodes", "2") == 0
    assert capsys.readouterr().err == f"gpusim: {file} is gone: {copy} stands for it, as it was when the run began.\n"
    assert (copy.parent / "ran").exists()


def test_a_rule_is_not_followed_without_a_word(desk, capsys):
    args = ("--script", "rule.py:right", "--checkpoint-every", "1")
    assert command("train", "dqn", "CartPole-v1", *SMALL, *ALGORITHMS["dqn"], "--run-dir", "run", *args) == 0
    (desk / "ruled").unlink()
    assert command("resume", "run") == 2  # though it is imported already: to be imported is not to be called
    assert f"names code that would be run: {desk / 'rule.py'}. Look" in capsys.readouterr().err
    assert command("eval", "run", "--episodes", "2") == 0  # for which there is nothing to explore
    assert not (desk / "ruled").exists()
    assert command("resume", "run", "--trust") == 0
    assert (desk / "ruled").exists()


def test_curves_are_drawn_of_an_environment_that_is_no_more(desk, capsys):
    trained("hosted_own", "Own-v0")
    forget(desk)
    (desk / "hosted_own.py").unlink()
    shutil.rmtree(desk / "run" / "code")
    config = json.loads((desk / "run" / "config.json").read_text())
    config["config"]["env"] = "gone:No$Longer-v0"
    (desk / "run" / "config.json").write_text(json.dumps(config))
    assert command("plot", "run", "--out", "curves.png") == 0
    from gpusim.agents.app.plot import compare

    (axes,) = compare(["run"])[0].axes
    assert axes.get_title() == r"No\$Longer-v0"
    assert axes.lines[-1].get_ydata()[0] == 3.5  # the line of what counts as solved, which the folder keeps
    assert "hosted_own" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [None, 3, [], {"env": "mine.py"}, {"env": {}}, {"env": {"file": 3}}, {"env": {"file": "\0", "sha256": 1}}],
)  # fmt: skip
def test_a_record_that_was_tampered_with_opens_no_door(code, desk):
    trained("hosted_own", "Own-v0")
    forget(desk)
    config = json.loads((desk / "run" / "config.json").read_text())
    (desk / "run" / "config.json").write_text(json.dumps(config | {"code": code, "reward_threshold": "high"}))
    assert RunFolder.open("run").threshold is None
    with pytest.raises(gpusim.InputError, match="names code that would be run"):
        load_policy("run")
    assert not (desk / "ran").exists()


def test_python_takes_the_same_names(desk):
    here = f"{desk / 'device_own.py'}:Lab/Own-v0"
    assert gpusim.make(here, 2, device="cpu").max_episode_steps == 4
    assert gpusim.make("device_own:gpusim/Lab/Own-v0", 2, device="cpu").task is gpusim.spec("Lab/Own-v0")
    config = preset("ppo", here, num_envs=2)
    assert config.env == here
    assert ppo.PPO(config).env.task.id == "Lab/Own-v0"
    hosted = from_gymnasium("hosted_own:Own-v0", 2, device="cpu")
    assert hosted.reset(seed=0)[0].shape == (2, 2)
    hosted.close()
    with pytest.raises(gpusim.InputError, match=r"Own-v0 is Gymnasium's, stepped on the host: gpusim\.adapters\."):
        gpusim.make("hosted_own:Own-v0", 2)
    with pytest.raises(
        gpusim.InputError, match=r"device_own registers no environment 'Own-v9'; did you mean Lab/Own-v0\?"
    ):
        gpusim.make("device_own:Own-v9", 2)


def test_an_environment_that_is_imported_already_needs_no_trust(desk):
    trained("device_own", "Lab/Own-v0")
    assert load_policy("run").env.id == "Lab/Own-v0"


def test_a_file_is_imported_once_by_whatever_name(desk):
    (desk / "count.py").write_text("import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\n")
    (desk / "link.py").symlink_to(desk / "count.py")
    modules = [source.load(name) for name in ("count", "count.py", str(desk / "count.py"), "./count.py")]
    assert len(set(map(id, modules))) == 1
    assert sys.counted == 1
    (desk / "sub").mkdir()
    (desk / "sub" / "count.py").write_text("OTHER = 1\n")
    assert source.load("sub/count.py").OTHER
    assert source.load("count") is modules[0]
    (desk / "json.py").write_text("OWN = 1\n")
    assert source.load("json.py").OWN
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("where", "text", "sentence"),
    [
        ("faulty.py", "x = 1\ny = x / 0\n", "faulty.py cannot be imported: ZeroDivisionError in faulty.py, line 2: div"),
        ("faulty", "def f(:\n", "faulty cannot be imported: SyntaxError: "),
        ("faulty", "import no_such_thing\n", "faulty cannot be imported: ModuleNotFoundError in faulty.py, line 1: "),
        ("faulty.py", "raise SystemExit(3)\n", "faulty.py cannot be imported: SystemExit in faulty.py, line 1: 3."),
        ("faulty.py", "import gpusim\ngpusim.make('N')\n", "faulty.py cannot be imported: no environment has the id 'N'"),
        ("nowhere", None, "nowhere cannot be imported: there is no module 'nowhere', neither installed nor in /"),
        ("nowhere.py", None, "there is no file nowhere.py."),
        ("a/b", None, "'a/b' is neither a module, as in package.module, nor a file that ends in .py."),
        ("faulty.py", "", "faulty.py registers no environment 'Own-v0'; "),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_sentence(where, text, sentence, desk, capsys):
    if text is not None:
        (desk / "faulty.py").write_text(text)
    assert command("train", "ppo", f"{where}:Own-v0") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gpusim: {sentence}")
    assert said.count("\n") == 1
    assert "faulty" not in sys.modules or not text
    assert not (desk / "runs").exists()


def test_a_file_alone_is_no_environment(desk, capsys):
    assert command("train", "ppo", "hosted_own.py") == 2
    assert "name what it registers too, as in hosted_own.py:Name-v0." in capsys.readouterr().err


def test_bench_measures_it(desk, capsys):
    args = ("--num-envs", "8", "--rounds", "1", "--seconds", "0.001", "--no-startup", "--no-memory")
    assert command("bench", "device_own.py:Lab/Own-v0", *args) == 0
    assert command("bench", "hosted_own:Own-v0", *args) == 2
    assert "Own-v0 is Gymnasium's, stepped on the host" in capsys.readouterr().err
