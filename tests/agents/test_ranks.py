"""`gpusim` as torchrun starts it: one rank writes and speaks, whatever becomes of the others."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gpusim.agents.parts.world import World
from gpusim.agents.train import ranks
from gpusim.errors import InputError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TRAIN = ("train", "ppo", "CartPole-v1", "--device", "cpu", "--num-envs", "16", "--num-steps", "32")
ENDLESS = (*TRAIN, "--total-steps", "100M", "--checkpoint-every", "5", "--run-dir")


def variables(**more):
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def torchrun(folder, size, *args, restarts=0):
    options = ("--standalone", "--nproc-per-node", str(size), "--max-restarts", str(restarts))
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "gpusim.agents", *map(str, args)]
    return subprocess.Popen(
        command, cwd=folder, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process):
    """The exit code, what was printed, and the sentences of gpusim."""
    out, err = process.communicate(timeout=400)
    return process.returncode, out, re.findall("^gpusim: .*", err, re.MULTILINE)


def wait_for(path):
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} was not written")


def child(process, rank):
    """The process of that rank."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return int(pid)
    raise AssertionError


def test_one_rank_writes_and_others_go_on(tmp_path):
    code, out, said = ended(torchrun(tmp_path, 2, *TRAIN, "--total-steps", 2048, "--run-dir", "run"))
    assert (code, said) == (0, [])
    assert out.count("run folder run") == out.count("the policy's mode scores") == 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4
    code, out, said = ended(torchrun(tmp_path, 4, "resume", "run", "--total-steps", 4096))
    assert (code, said) == (0, [])
    assert "going on from step 2,048" in out
    alone = [sys.executable, "-m", "gpusim.agents", "resume", "run"]
    done = subprocess.run(alone, cwd=tmp_path, env=variables(), capture_output=True, text=True)
    assert "is complete: all 4,096 steps were made" in done.stdout


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_is_started_again(tmp_path, rank):
    process = torchrun(tmp_path, 2, *TRAIN, "--total-steps", "60k", "--checkpoint-every", 5, restarts=1)
    for _ in range(1200):
        if found := [*tmp_path.glob("runs/*/checkpoints/*10.pt")]:
            break
        time.sleep(0.1)
    os.kill(child(process, rank), signal.SIGKILL)
    code, out, said = ended(process)
    assert code == 0
    assert len(said) <= 1
    assert all(f"rank {1 - rank} has lost another" in sentence for sentence in said)
    assert "going on from step" in out
    assert len([*tmp_path.glob("runs/*")]) == 1
    assert (found[0].parents[1] / "result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_in_order(tmp_path, number):
    process = torchrun(tmp_path, 2, *ENDLESS, "run")
    wait_for(tmp_path / "run" / "metrics.jsonl")
    process.send_signal(number)
    _, out, said = ended(process)
    assert said == []
    stopped = re.search(r"stopped at step ([\d,]+); go on with: gpusim resume run\n", out)
    assert stopped
    newest = max(int(path.stem) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert newest * 16 * 32 == int(stopped[1].replace(",", ""))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((*TRAIN, "--num-envs", "36"), "num_envs must be a multiple of 8, the number of shards"),
        ((*TRAIN, "--learning-rate", "fast"), "--learning-rate: "),
        (("eval", "run"), "gpusim eval is for one process"),
        (("resume", "nowhere"), "there is no run folder nowhere"),
    ],
)
def test_bad_input_is_one_sentence_of_one_rank(tmp_path, args, sentence):
    """However often torchrun starts it."""
    code, _, said = ended(torchrun(tmp_path, 2, *args, restarts=1))
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith(f"gpusim: {sentence}")


def started(rank, size, port, *args, folder):
    place = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "gpusim.agents", *args]
    return subprocess.Popen(
        command, cwd=folder, env=variables(**place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ranks_that_differ_are_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    each = [started(i, 2, port, *TRAIN, "--seed", str(7 + i), folder=tmp_path) for i in range(2)]
    said = [sentence for process in each for sentence in ended(process)[2]]
    assert said == ["gpusim: all ranks of a run must be alike: rank 0 has --seed 7, and rank 1 --seed 8."]


def test_a_difference_is_named():
    one = {"gpusim": "1", "torch": "2", "command": ["train", "--seed", "3", "--anneal"]}
    assert ranks.difference(one, one) is None
    assert ranks.difference(one, one | {"torch": "2.1"}) == ("torch 2", "2.1")
    shorter = one | {"command": one["command"][:3]}
    assert ranks.difference(one, shorter) == ("--anneal", "nothing in its place")


@pytest.mark.parametrize(
    ("name", "has", "sentence"),
    [("cuda", 1, "rank 3 has no GPU: it is number 2 on a machine with 1"), ("cuda:1", 4, 'say device "cuda"')],
)
def test_a_rank_without_a_gpu_is_refused(name, has, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: has)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    with pytest.raises(InputError, match=sentence):
        World(3, 4, 1, True).device(name)


def test_gpus_need_nccl(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    with pytest.raises(InputError, match=r"sums over GPUs are made by NCCL, which torch .* has not"):
        World(0, 2, 0, True).device("cuda")
    assert World(0, 2, 0, True).device("cpu") == "cpu"
