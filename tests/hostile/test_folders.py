"""Run folders that were tampered with, by hundreds of drawn changes: each is refused in a sentence, or used rightly."""

import itertools
import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

import gpusim.agents.folder.drawing
from tests.agents.test_run import flipped
from tests.hostile.counts import Ledger, command, draw
from tests.hostile.kills import leaves

INPUTS = {"a field of config.json": 50}  # and 18 of each other kind
SMALL = ["--num-envs", "4", "--num-steps", "16", "--minibatches", "2", "--hidden", "8", "--total-steps", "640",
         "--checkpoint-every", "3"]  # fmt: skip
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.lists(st.integers(-3, 3), max_size=3), st.just({"a": [1]}), st.just([[1]]), st.just("9" * 400),
)  # fmt: skip
JUNK = st.one_of(
    st.binary(max_size=64), st.just(b""), st.just(b"[" * 100_000), st.just(b'{"a":' * 50_000), st.just(b"null"),
    st.just(b"1e999"), st.just(b"\xff\xfe{}"), st.just(b'"text"'), st.just(b"9" * 5000),
)  # fmt: skip


def flip(path, data):
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)


def cut(path, data):
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])


def junk(path, data):
    path.write_bytes(data.draw(JUNK))


def something_else(path, data):
    """No regular file."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match data.draw(st.sampled_from(["nothing", "folder", "pipe", "link to itself", "link to nothing", "device"])):
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(path.with_name("nothing"))
        case "device":
            path.symlink_to("/dev/zero")


FILES = ["config.json", "metrics.jsonl", "result.json", "checkpoints/00000009.pt", "run.lock", "checkpoints"]


def any_file(change):
    def changed(folder, data):
        path = folder / data.draw(st.sampled_from(FILES))
        if (path.is_file() and path.stat().st_size) or change is something_else:
            change(path, data)

    return changed


def a_field(folder, data):
    """Of config.json: of another type, out of every range, missing, or unknown."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    values = data.draw(st.sampled_from([content, content["config"]]))
    name = data.draw(st.sampled_from([*values, "unknown"]))
    if data.draw(st.booleans()):
        values[name] = data.draw(ANYTHING)
    else:
        values.pop(name, None)
    path.write_text(json.dumps(content))


def another_run(folder, data):
    """The configuration of another algorithm, environment or size."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change: dict[str, Any] = data.draw(
        st.sampled_from(
            [{"algorithm": a} for a in ("a2c", "dqn", "pqn", "reinforce", "sac", "", "os")]
            + [{"env": e} for e in ("Acrobot-v1", "Pendulum-v1", "MinAtar/Breakout-v1", "nowhere", "mine.py:Mine-v0")]
            + [
                {"num_envs": 8},
                {"hidden": [16]},
                {"hidden": [8, 8]},
                {"normalize_obs": True},
                {"normalize_reward": True},
            ]
        )
    )
    (content if "algorithm" in change else content["config"]).update(change)
    path.write_text(json.dumps(content))


def a_checkpoint(folder, data):
    """Whole, as torch writes it, but of another content."""
    path = folder / "checkpoints" / "00000009.pt"
    content = torch.load(path, weights_only=True)
    branch = content
    while True:
        name = data.draw(st.sampled_from(sorted(branch)))
        if not isinstance(branch[name], dict) or not branch[name] or data.draw(st.booleans()):
            break
        branch = branch[name]
    old = branch[name]
    match data.draw(st.sampled_from(["gone", "renamed", "anything", "longer", "shapeless"])):
        case "gone":
            del branch[name]
        case "renamed":
            branch[f"{name}2"] = branch.pop(name)
        case "anything":
            branch[name] = data.draw(ANYTHING)
        case "longer" if isinstance(old, torch.Tensor) and old.ndim:
            branch[name] = torch.cat([old, old])
        case _:  # of another shape, as a file without a seal has nothing that tells another number
            branch[name] = torch.zeros(() if not isinstance(old, torch.Tensor) or old.ndim else 2)
    torch.save(content, path)


def no_checkpoint(folder, data):
    """A file of torch's, or of zip's, that is none; one that would run code."""
    path = folder / "checkpoints" / "00000009.pt"
    match data.draw(st.sampled_from(["list", "tensor", "code", "zip", "nested"])):
        case "list":
            torch.save([1, 2], path)
        case "tensor":
            torch.save(torch.zeros(3), path)
        case "code":
            torch.save({"format": 1, "seconds": 0.0, "state": Harmful()}, path)
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", b"junk")
        case "nested":
            tree: Any = {}
            for _ in range(300):
                tree = {"a": tree}
            torch.save({"format": 1, "seconds": 0.0, "state": tree}, path)


class Harmful:
    def __reduce__(self):
        return os.abort, ()


def a_line(folder, data):
    """Of metrics.jsonl: blank, junk, no reading, twice, or out of order."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    reading = json.loads(lines[place])
    name = data.draw(st.sampled_from(sorted(reading)))
    new = data.draw(
        st.one_of(
            JUNK,
            st.just(b"[1, 2]"),
            st.just(b"{}"),
            st.just(lines[-1]),
            ANYTHING.map(lambda value: json.dumps(reading | {name: value}).encode()),
        )
    )
    lines[place : place + data.draw(st.integers(0, 1))] = [new]
    path.write_bytes(b"\n".join(lines) + b"\n")


def other_files(folder, data):
    """Of somebody else, which stay."""
    where = folder / data.draw(st.sampled_from([".", "checkpoints"]))
    name = data.draw(st.sampled_from(["best.pt", "0000001.pt", "00000099.pt.bak", "notes.txt", "00000009 (copy).pt"]))
    (where / name).write_bytes(b"mine")


def changed_together(folder, data):
    """Several of these at once."""
    for change in data.draw(st.lists(st.sampled_from(list(KINDS.values())[:-1]), min_size=2, max_size=3)):
        try:
            change(folder, data)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError):
            return  # what there was to change is gone already


KINDS: dict[str, Callable[..., None]] = {
    "a bit of a file flipped": any_file(flip),
    "a file cut short": any_file(cut),
    "junk in a file": any_file(junk),
    "no file where one is expected": any_file(something_else),
    "a field of config.json": a_field,
    "the configuration of another run": another_run,
    "a checkpoint of other content": a_checkpoint,
    "no checkpoint at all": no_checkpoint,
    "a line of metrics.jsonl": a_line,
    "files of somebody else": other_files,
    "several of these": changed_together,
}
COMMANDS = {"resume": [], "eval": ["--episodes", "2"], "plot": ["--out"]}


def ending(folder):
    state = torch.load(sorted((folder / "checkpoints").glob("0*.pt"))[-1], weights_only=True)["state"]
    return {name: value for name, value in leaves(state).items() if name.startswith("/network")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A finished run, and the same with one iteration to go."""
    where = tmp_path_factory.mktemp("folders")
    assert command("train", "ppo", "CartPole-v1", *SMALL, "--run-dir", where / "whole").code == 0
    shutil.copytree(where / "whole", where / "short")
    (where / "short" / "checkpoints" / "00000010.pt").unlink()
    (where / "short" / "result.json").write_text("{}")
    return where


@pytest.mark.slow
def test_of_tampered_folders_none_is_raw_and_none_silently_wrong(unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(gpusim.agents.folder.drawing, "save", lambda *args: None)  # pictures have tests of their own
    monkeypatch.setattr(gpusim.agents.folder.drawing, "curve", lambda *args: None)
    expected, ledger, folder = ending(unbroken / "whole"), Ledger(), tmp_path / "run"
    played = command("eval", unbroken / "short", "--episodes", "2").out
    earlier = set()
    for path in sorted((unbroken / "short" / "checkpoints").iterdir(), reverse=True):
        shutil.copytree(unbroken / "short", folder)
        for newer in (folder / "checkpoints").iterdir():
            if newer.name > path.name:
                newer.unlink()
        earlier.add(command("eval", folder, "--episodes", "2").out)
        shutil.rmtree(folder)
    assert played in earlier

    def tampered(kind, name, data):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(unbroken / "short", folder)
        KINDS[kind](folder, data)
        mine = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.stat().st_size == 4}

        def right(answer):
            if name == "resume":
                return "is complete" in answer.out or ending(folder) == expected
            return name == "plot" or answer.out in earlier

        with warnings.catch_warnings(action="ignore"):
            extra = COMMANDS[name] + ([tmp_path / "out.png"] if name == "plot" else [])
            answer = command(name, folder, *extra)
        ledger.note(kind, name, answer, right)
        if kind == "files of somebody else":
            assert all(p.read_bytes() == content for p, content in mine.items())

    for kind in KINDS:
        inputs = st.tuples(st.just(kind), st.sampled_from(list(COMMANDS)), st.data())
        draw(lambda drawn: tampered(*drawn), inputs, INPUTS.get(kind, 18))
    print(f"\n{ledger}")
    assert ledger.inputs >= 200
    assert not ledger.bad, "\n\n".join(ledger.bad)


def test_the_ledger_sees_what_is_wrong():
    from tests.hostile.counts import Answer, outcome

    assert outcome(Answer(2, err="gpusim: no.\n"), lambda a: True) == "clean"
    assert outcome(Answer(2, err="gpusim: no.\nand more\n"), lambda a: True) == "raw"
    assert outcome(Answer(0), lambda a: False) == "silent"
    assert outcome(Answer(70, raw="Traceback"), lambda a: True) == "raw"


def test_no_flipped_bit_of_a_checkpoint_goes_unseen(unbroken):
    """Of a thousand, over all the file, and of all in its last bytes, which hold the digest."""
    from gpusim.agents.folder.checkpoints import SEAL, Damaged, read

    path = unbroken / "flipped.pt"
    content = (unbroken / "short" / "checkpoints" / "00000009.pt").read_bytes()
    path.write_bytes(content)
    cpu = torch.device("cpu")
    right = leaves(read(path, cpu).state)
    flips = [(place, place % 8) for place in range(0, len(content), max(1, len(content) // 1000))]
    for place, bit in [*flips, *itertools.product(range(len(content) - 120, len(content)), range(8))]:
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read(path, cpu)
    older = content[: content.rindex(SEAL) - 2] + bytes(2)
    path.write_bytes(older)
    assert leaves(read(path, cpu).state) == right
    path.write_bytes(flipped(older))
    with pytest.raises(Damaged):
        read(path, cpu)
