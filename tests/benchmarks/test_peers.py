"""What runs the other projects' drivers, with drivers that misbehave, and the catalogue of those drivers."""

import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from gpusim.envs.classic import CLASSIC
from gpusim.envs.driving import DRIVING
from gpusim.envs.minatar import MINATAR

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def load(name: str):
    return importlib.import_module(f"peers.{name}")


READY = 'print(json.dumps({"first_s": 0.5, "versions": {"fake": "1"}}), flush=True)'


@pytest.fixture
def start(tmp_path):
    """Runs the lines of a driver as a peer's process."""

    def made(*lines: str):
        driver = tmp_path / "driver.py"
        driver.write_text("\n".join(["import json, os, sys", *map(textwrap.dedent, lines)]))
        return load("process").Running("Fake", [sys.executable, str(driver)], 4)

    return made


def test_a_driver_answers_once_for_every_round_and_ends_with_its_input(start):
    running = start(READY, "for n, _ in enumerate(sys.stdin): print(100.0 + n, flush=True)")
    assert (running.first_s, running.versions, running.num_envs) == (0.5, {"fake": "1"}, 4)
    assert [running.measure() for _ in range(3)] == [100.0, 101.0, 102.0]
    running.close()
    assert running.process.returncode == 0


def test_a_driver_that_dies_at_its_start_is_told_with_its_last_words(start):
    with pytest.raises(RuntimeError, match=r"Fake ended: .*no such wheel"):
        start('sys.exit("no such wheel")')


def test_a_driver_that_dies_in_a_round_is_told_with_its_last_words(start):
    running = start(READY, "sys.stdin.readline()", "print(7.0, flush=True)", 'sys.exit("out of memory")')
    assert running.measure() == 7.0
    for _ in range(2):  # and told again, however often it is asked
        with pytest.raises(RuntimeError, match=r"Fake ended: .*out of memory"):
            running.measure()
    running.close()


def test_a_driver_that_floods_its_standard_error_does_not_hang(start):
    running = start('sys.stderr.write("x" * 1_000_000)', READY, "for _ in sys.stdin: print(1.0, flush=True)")
    assert running.measure() == 1.0
    running.close()


@pytest.mark.parametrize("garbage", ["Welcome!", "[1, 2]", '{"first_s": 1}', "3"])
def test_a_first_line_that_is_no_answer_is_refused(start, garbage):
    with pytest.raises(RuntimeError, match="no answer"):
        start(f"print({garbage!r}, flush=True)", "sys.stdin.read()")


@pytest.mark.parametrize("garbage", ["Episode 1", '{"rate": 1.0}', "true", "NaN", "-1.0"])
def test_a_round_that_is_no_answer_is_refused(start, garbage):
    running = start(READY, f"for _ in sys.stdin: print({garbage!r}, flush=True)")
    with pytest.raises(RuntimeError, match="no answer"):
        running.measure()
    assert running.process.poll() is not None


def test_a_rate_is_transitions_by_time_whatever_the_peer_prints(tmp_path):
    """Of ten rows a call, one is a reset; a call takes 2 ms."""
    driver = tmp_path / "driver.py"
    driver.write_text(
        textwrap.dedent("""
            import time
            from peers.serve import request, serve
            asked = request()
            def run(calls):
                print("chatter")
                time.sleep(0.002 * calls)
                return 9 * calls
            serve(run, asked.seconds, ("pytest",), threads=2)
        """)
    )
    command = [sys.executable, str(driver), "CartPole-v1", "10", "1", "bare", "0.05"]
    done = subprocess.run(
        command, input="\n\n", capture_output=True, text=True, check=True, env={"PYTHONPATH": str(FOLDER)}
    )
    ready, *rates = map(json.loads, done.stdout.splitlines())
    assert ready["versions"] == {"pytest": pytest.__version__, "threads": 2}
    assert len(rates) == 2
    assert all(4500 * 0.5 < rate <= 4500 for rate in rates)


def test_why_a_peer_is_missing_is_told(tmp_path, monkeypatch):
    process = load("process")
    monkeypatch.setattr(process, "FOLDER", tmp_path)
    venv = process.Venv("fake")
    peer = process.Peer("Fake", venv, "fake.py", "loop", {"CartPole-v1": "x"}, ("bare",), "Nothing.")
    with pytest.raises(RuntimeError, match="make peers"):
        peer.start("CartPole-v1", 4, 8, "bare", 0.1)
    venv.folder.mkdir()
    (venv.folder / "failed").write_text("ERROR: no wheel\n")
    with pytest.raises(RuntimeError, match=r"does not install here: ERROR: no wheel$"):
        peer.start("CartPole-v1", 4, 8, "bare", 0.1)
    (venv.folder / "done").touch()
    assert venv.missing() is None


def test_a_python_loop_is_measured_with_as_many_as_it_can_hold():
    process = load("process")
    peer = process.Peer("Fake", process.Venv("fake"), "fake.py", "loop", {}, (), "Nothing.", most_envs=256)
    assert [peer.at(n) for n in (16, 256, 65_536)] == [16, 256, 256]


def test_the_drivers_say_what_there_is():
    catalogue = load("catalogue")
    ours, seen = {env.id for env in (*CLASSIC, *MINATAR, *DRIVING)}, set()
    for peer in catalogue.peers():
        assert set(peer.envs) <= ours, peer.name
        assert peer.venv.requirements.is_file(), peer.name
        assert peer.envs, peer.name
        assert peer.modes, peer.name
        assert peer.differs.endswith("."), peer.name
        for env in peer.envs:
            assert (peer.name, env) not in seen, "an environment is measured twice"
            seen.add((peer.name, env))
    assert {p.name for p in catalogue.beside("CartPole-v1")} >= {"Gymnasium", "EnvPool", "gymnax", "Stable-Baselines3"}
    assert {p.name for p in catalogue.beside("MinAtar/Breakout-v1", "sim")} == {"gymnax", "Pgx"}
    assert catalogue.beside("MinAtar/Breakout-v0") == []  # of all six actions: no peer's


def test_the_learners_say_what_there_is():
    catalogue = load("catalogue")
    assert {learner.name for learner in catalogue.learners()} >= {"Stable-Baselines3", "Rejax"}
    for learner in catalogue.learners():
        assert learner.venv.requirements.is_file(), learner.name
        assert set(learner.algorithms) <= {"ppo", "dqn", "pqn", "sac"}, learner.name


def test_a_peer_is_one_file(tmp_path):
    """Nothing of it is imported; the first entry that names an environment has it."""
    (tmp_path / "lab_rollout.py").write_text(
        "import lab\n"
        "PEERS = [{'name': 'Lab', 'runs': 'C', 'envs': {'CartPole-v1': 'pole'}, 'modes': ('step',), 'differs': 'Much.'},\n"
        "         {'name': 'Lab', 'runs': 'Python', 'envs': {'*': '{id}', 'MinAtar/Space*-v1': '{name}/{snake}'},\n"
        "          'modes': ('bare',), 'differs': 'Little.', 'most_envs': 4}]\n"
        "LEARNERS = [{'name': 'Lab', 'venv': 'other', 'algorithms': ('ppo',), 'differs': 'Slow.'}]\n"
    )
    catalogue = load("catalogue")
    first, second = catalogue.peers(tmp_path)
    assert (first.driver, first.venv.name, first.envs) == ("lab_rollout.py", "lab", {"CartPole-v1": "pole"})
    assert "CartPole-v1" not in second.envs
    assert second.envs["Pendulum-v1"] == "Pendulum-v1"
    assert [own for id, own in second.envs.items() if "/" in id] == ["SpaceInvaders/space_invaders"]
    (learner,) = catalogue.learners(tmp_path)
    assert (learner.driver, learner.venv.name) == ("lab_rollout.py", "other")


def test_every_requirements_file_belongs_to_a_peer():
    catalogue = load("catalogue")
    used = {p.venv.requirements.name for p in (*catalogue.peers(), *catalogue.learners())}
    assert used == {f.name for f in (FOLDER / "peers").glob("*.txt")}


@pytest.mark.parametrize("kind", ["vector_entry_point", "sync"])
def test_the_steps_that_only_reset_are_not_counted(kind, monkeypatch):
    """Each transition of CartPole is rewarded with 1, and a reset with 0: the rewards count the transitions."""
    monkeypatch.syspath_prepend(str(FOLDER / "peers"))
    stepper = importlib.import_module("gymnasium_rollout").stepper
    rewards = []

    class Counting(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            made = super().step(actions)
            rewards.append(made[1].sum())
            return made

    env = Counting(gymnasium.make_vec("CartPole-v1", 4, vectorization_mode=kind))
    env.reset(seed=0)
    run = stepper(env, [np.ones(4, int)])
    assert run(7) + run(60) == sum(rewards)
    assert sum(rewards) < 4 * 67 - 10, "no episode ended"
    env.close()
