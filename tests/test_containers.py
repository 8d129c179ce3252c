"""The containers' entry point, run with stubs in the place of its servers, and what it says of torch, CUDA and driver."""

import os
import re
import runpy
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTAINERS = ROOT / "containers"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleOnly somebody"
STUBS = {  # each tells how it was called; a server that goes on is sshd alone
    "jupyter": 'echo "called: jupyter $*"; echo "token: ${JUPYTER_TOKEN-}"; echo "key: ${GPUSIM_SSH_KEY-}"',
    "gpusim": 'echo "called: gpusim $*"',
    "python": """case "$1" in -c) echo 0123456789abcdef0123456789abcdef ;; *) echo "called: python $*" ;; esac""",
    "sshd": 'echo "called: sshd"; [ -z "${SSHD_FAILS-}" ] || { echo "Bind to port 22 failed" >&2; exit 1; }; sleep 3',
    "ssh-keygen": """case "$*" in
-q*) for last; do :; done; touch "$last" "$last.pub" ;;
*authorized_keys) grep -q ssh-ed25519 "$3" || exit 1 ;;
esac; echo 256 SHA256:fingerprint""",
    "id": """case "$1" in -u) echo "${STUB_UID-1000}" ;; *) echo gpusim ;; esac""",
    "getent": '[ "$2" = 1000 ]',
}


@pytest.fixture
def start(tmp_path):
    """Starts the entry point with arguments and variables; gives its exit code, output and errors."""
    programs, desk = tmp_path / "bin", tmp_path / "workspace"
    programs.mkdir()
    desk.mkdir()
    for name, body in STUBS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)

    def run(*args, **variables):
        place = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "GPUSIM_SSHD": str(programs / "sshd"),
        }
        command = ["bash", str(CONTAINERS / "entrypoint.sh"), *args]
        with subprocess.Popen(
            command, env=place | variables, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return run


def test_a_server_draws_a_token_and_opens_no_ssh_without_a_key(start):
    code, out, err = start()
    assert (code, err) == (0, "")
    assert "lab?token=0123456789abcdef0123456789abcdef" in out
    assert "token: 0123456789abcdef0123456789abcdef" in out
    assert "SSH is not started, as no key may log in" in out
    assert "called: sshd" not in out
    assert re.search(r"called: jupyter lab --no-browser --ip=0\.0\.0\.0 --port=8888 ", out)


@pytest.mark.parametrize("token", ["", "short"])
def test_an_open_door_is_refused(start, token):
    code, out, err = start("serve", GPUSIM_TOKEN=token)
    assert code == 2
    assert f"GPUSIM_TOKEN has {len(token)} characters and needs 16" in err
    assert "called" not in out


def test_a_token_of_ones_own_is_taken(start):
    code, out, _ = start(GPUSIM_TOKEN="x" * 16, GPUSIM_JUPYTER_PORT="9999", GPUSIM_ADDRESS="127.0.0.1")
    assert code == 0
    assert f"token: {'x' * 16}\n" in out
    assert "--ip=127.0.0.1 --port=9999 " in out


def test_root_is_refused(start):
    code, out, err = start(STUB_UID="0")
    assert code == 2
    assert "this would open a server as root" in err
    assert "called" not in out


def test_keys_alone_may_log_in(start):
    code, out, err = start(GPUSIM_SSH_KEY=KEY, GPUSIM_SSH_PORT="2222")
    assert (code, err) == (0, "")
    assert "SSH as gpusim on port 2222, for the keys given" in out
    assert "key: \n" in out  # it is not handed on


def test_what_ssh_is_told():
    config = re.search(r"<< CONFIG\n(.*?)\nCONFIG\n", (CONTAINERS / "entrypoint.sh").read_text(), re.DOTALL)[1]
    settings = dict(line.split(" ", 1) for line in config.splitlines())
    assert settings["AuthenticationMethods"] == "publickey"
    assert {
        settings[name] for name in ("PasswordAuthentication", "KbdInteractiveAuthentication", "PermitRootLogin")
    } == {"no"}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"GPUSIM_SSH_KEY": "not a key"}, "GPUSIM_SSH_KEY holds no public key"),
        ({"GPUSIM_SSH_KEY": KEY, "SSHD_FAILS": "1"}, "SSH did not start: Bind to port 22 failed"),
    ],
)
def test_ssh_that_cannot_start_stops_all(start, variables, sentence):
    code, out, err = start(**variables)
    assert code == 2
    assert sentence in err
    assert "called: jupyter" not in out


def test_a_user_without_a_name_has_jupyter_alone(start):
    code, out, _ = start(GPUSIM_SSH_KEY=KEY, STUB_UID="4321")
    assert code == 0
    assert "SSH is not started, as user 4321 has no name here" in out
    assert "called: jupyter" in out


@pytest.mark.parametrize(
    ("args", "called"),
    [
        (["train", "ppo", "CartPole-v1"], "gpusim train ppo CartPole-v1"),
        (["eval", "runs/a b"], "gpusim eval runs/a b"),
        (["--version"], "gpusim --version"),
        (["python", "mine.py"], "python mine.py"),
    ],
)
def test_a_command_runs_and_nothing_else(start, args, called):
    code, out, err = start(*args)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"called: {called}"
    assert "jupyter" not in out


def test_a_shell(start):
    assert start("bash", "-c", "echo here; exit 3")[:2] == (3, "here\n")


# ------------------------------------------------------------------------------------------- torch, CUDA and driver

CHECK = runpy.run_path(str(CONTAINERS / "check.py"))
Facts, told, wrong = CHECK["Facts"], CHECK["told"], CHECK["wrong"]
H100 = {"gpus": ("NVIDIA H100",), "capabilities": ("sm_90",), "compiled": ("sm_80", "sm_90")}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts("2.13.0", "13.0", (13, 0), True, **H100), None),
        (Facts("2.13.0", "12.6", (13, 0), True, **H100), None),
        (Facts("2.13.0", "12.8", (12, 2), True, **H100), None),  # within a first number they fit
        (Facts("2.13.0+cpu", None, None, False), None),
        (Facts("2.13.0+cpu", None, (13, 0), True), "has no CUDA: take the image of the target cuda"),
        (Facts("2.13.0", "13.0", None, False), "start with --gpus all"),
        (Facts("2.13.0", "13.0", None, True), "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        (
            Facts("2.13.0", "13.0", (12, 4), True),
            "knows CUDA up to 12.4, and torch was built for 13.0: install driver 580 or",
        ),
        (Facts("2.13.0", "13.0", (13, 0), True), "no GPU answers"),
        (
            Facts("2.13.0", "13.0", (13, 0), True, ("Tesla P100",), ("sm_60",), ("sm_80", "sm_90")),
            "the Tesla P100 is sm_60, and this torch was compiled for sm_80, sm_90",
        ),
    ],
)
def test_a_mismatch_is_told_with_its_remedy(facts, words):
    problem = wrong(facts)
    assert problem is None if words is None else words in problem


@pytest.mark.parametrize(
    ("capability", "compiled", "runs"),
    [
        ("sm_86", ("sm_80", "sm_90"), True),
        ("sm_89", ("sm_90",), False),
        ("sm_100", ("sm_90", "compute_90"), True),
        ("sm_100", ("sm_90a",), False),
        ("sm_120", ("sm_120a",), True),
    ],
)
def test_code_runs_on_what_it_was_compiled_for(capability, compiled, runs):
    assert CHECK["runs"](capability, compiled) is runs


def test_this_machine_is_told_in_a_line():
    assert re.match(r"torch [\d.]+\S* (without CUDA|for CUDA [\d.]+), (no NVIDIA|a) driver.*, ", told(CHECK["facts"]()))


# ------------------------------------------------------------------------------------------------------------ the files


def test_what_the_images_copy_is_there_and_reaches_the_builder():
    text = (CONTAINERS / "Dockerfile").read_text()
    sources = [words.split()[0] for words in re.findall(r"^COPY (.*)$", text, re.MULTILINE)]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert "." in sources
    for source in set(sources) - {"."}:
        assert (ROOT / source).is_file()
        assert source.split("/")[0] in let_in
    assert {"agents", "gpusim", "kernels", "examples", "pyproject.toml", "README.md", "LICENSE"} <= let_in


def test_there_are_the_targets_that_are_promised_and_none_ends_as_root():
    text = (CONTAINERS / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL))
    for target in ("cuda", "cpu", "inference", "inference-onnx"):
        assert "USER ${UID}" in stages[target]
    for target in ("inference", "inference-onnx"):
        assert not re.search(r"triton|g\+\+|gcc", stages[target] + stages["python"])


def test_the_entry_point_can_be_executed_and_parsed():
    script = CONTAINERS / "entrypoint.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


def test_ports_are_published_on_this_machine_alone():
    ports = re.findall(r'^\s+- "([\d.]*:?\d+:\d+)"', (CONTAINERS / "compose.yaml").read_text(), re.MULTILINE)
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
