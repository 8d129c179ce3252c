"""An export does what its policy does, in every format and of every network; what does not is refused and leaves nothing."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gpusim.agents import a2c, ppo
from gpusim.agents.app.cli import main
from gpusim.agents.app.export import export as exporting
from gpusim.agents.app.export import formats, policy_numpy, policy_torch, proof
from gpusim.agents.app.export.acting import Acting, distribution_of, drawn
from gpusim.agents.app.export.card import interface
from gpusim.agents.app.export.export import export
from gpusim.agents.app.export.formats import AOT, FORMATS
from gpusim.agents.app.export.program import program, stored
from gpusim.agents.train.discovery import algorithms, learner_class, module
from gpusim.agents.train.environments import describe
from gpusim.agents.train.evaluate import InPlay, evaluate, load_policy, policy_of
from gpusim.errors import InputError
from gpusim.kernels.distributions import Categorical, EpsilonGreedy, Gaussian

CASES = {
    "ppo": ("ppo", "CartPole-v1", {}),
    "ppo, continuous, normalized": ("ppo", "Pendulum-v1", {"normalize_obs": True}),
    "ppo, board": ("ppo", "MinAtar/Breakout-v1", {}),
    "ppo, gru": ("ppo", "CartPole-v1", {"network": "gru"}),
    "ppo, lstm": ("ppo", "Pendulum-v1", {"network": "lstm"}),
    "ppo, shared gru on a board": ("ppo", "MinAtar/Freeway-v1", {"network": "gru", "shared_memory": True}),
    "pqn, mingru": ("pqn", "CartPole-v1", {"network": "mingru"}),
    "a2c": ("a2c", "CartPole-v1", {"activation": "relu"}),
    "reinforce": ("reinforce", "Pendulum-v1", {"initial_log_std": -1.0}),
    "dqn, dueling": ("dqn", "CartPole-v1", {"dueling": True}),
    "dqn, atoms": ("dqn", "CartPole-v1", {"atoms": 11, "dueling": True}),
    "dqn, quantiles": ("dqn", "CartPole-v1", {"quantiles": 5, "layer_norm": True}),
    "pqn": ("pqn", "CartPole-v1", {}),
    "sac": ("sac", "Pendulum-v1", {}),
    "td3": ("td3", "Pendulum-v1", {"layer_norm": True}),
}


def made(algorithm, env, settings):
    """A policy whose weights are so large that its actions differ, and which has seen some observations."""
    task, draw = describe(env), torch.Generator().manual_seed(0)
    config = module(algorithm).Config(env=env, **{"hidden": (16, 16)} | settings)
    network = learner_class(algorithm).make_network(config, task, draw)
    with torch.no_grad():
        for weight in (x for x in network.parameters() if x.ndim > 1 and x.shape[-2] > 1):
            weight.add_(torch.empty_like(weight).normal_(0.0, 0.3, generator=draw))
    if network.normalizer is not None:
        network.normalizer.update(0.1 + 0.5 * torch.randn(50, *network.normalizer.mean.shape, generator=draw))
    if hasattr(network, "epsilon"):
        network.epsilon.fill_(0.3)
    return policy_of(network, task)


def written(policy, acting, kind, path, precision="float32"):
    """The file, loaded."""
    kind.write(program(acting), path, interface(policy, acting, precision))
    return kind.load(path)


def differ(run, policy, acting):
    """How far the two are apart, of what may be between them."""
    known, card = proof.asked(policy, acting, 0), interface(policy, acting, "float32")
    return proof.compare(run, known, acting, proof.rounding(program(acting), card, known, acting))


QUICK = [("ppo", "json"), ("ppo, board", "json"), ("ppo, lstm", "json"), ("dqn, atoms", "json"), ("sac", "torch")]
ALL = [
    pytest.param(case, format, marks=[] if (case, format) in QUICK else [pytest.mark.slow])
    for case in CASES
    for format in FORMATS
]


def test_every_algorithm_has_a_case():
    assert {algorithm for algorithm, _, _ in CASES.values()} == set(algorithms())


@pytest.mark.parametrize(("case", "format"), ALL)
def test_it_does_what_the_policy_does(case, format, tmp_path):
    policy, kind = made(*CASES[case]), FORMATS[format]
    acting = Acting(policy)
    run = written(policy, acting, kind, tmp_path / f"policy{kind.suffix}")
    known = proof.asked(policy, acting, 0)
    assert {len(x) for x in known.outputs.values()} == {1000}
    assert known.outputs.get("scores", known.outputs["action"]).std(0).min() > 0.002
    assert differ(run, policy, acting) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ppo", "ppo, lstm", "dqn, dueling", "sac", "td3"])
@pytest.mark.parametrize("format", FORMATS)
def test_it_draws_what_the_policy_would(case, format, tmp_path):
    policy, kind = made(*CASES[case]), FORMATS[format]
    acting = Acting(policy, samples=True)
    run = written(policy, acting, kind, tmp_path / f"policy{kind.suffix}")
    assert differ(run, policy, acting) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_pictures_of_the_host_go_through_three_convolutions(format, tmp_path):
    policy, kind = made("ppo", "ALE/Pong-v5", {}), FORMATS[format]
    acting = Acting(policy)
    assert acting.inputs[0].dtype == "uint8"
    run = written(policy, acting, kind, tmp_path / f"policy{kind.suffix}")
    assert differ(run, policy, acting) <= 1e-5


@pytest.mark.parametrize(
    ("case", "precision"),
    [
        ("ppo, board", "int8"),
        pytest.param("ppo, board", "bfloat16", marks=pytest.mark.slow),
        pytest.param("ppo, gru", "int8", marks=pytest.mark.slow),
        pytest.param("ppo, gru", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_weights_in_fewer_bits_are_near_and_are_stored_so(case, precision, tmp_path):
    policy = made(*CASES[case])
    exact, acting = Acting(policy), stored(Acting(policy), precision)
    run = written(policy, acting, FORMATS["json"], tmp_path / "policy.json", precision)
    known = proof.asked(policy, exact, 0)
    assert proof.compare(run, proof.replied(acting, known), acting) <= 1e-6
    apart = np.abs(run(known.inputs)["scores"] - known.outputs["scores"]).max() / np.abs(known.outputs["scores"]).max()
    assert 1e-5 < apart < 0.1
    weights = json.loads((tmp_path / "policy.json").read_text())["weights"].values()
    least = sum(len(x["values"]) for x in weights if x["dtype"] == "int8")
    assert (least > 1000) == (precision == "int8")


@pytest.mark.slow
@pytest.mark.parametrize(("format", "share"), [("onnx", 0.3), ("torch", 0.45)])
def test_a_file_of_int8_is_a_fraction_of_the_size(format, share, tmp_path):
    policy, kind, sizes = made("ppo", "MinAtar/Breakout-v1", {"hidden": (128,)}), FORMATS[format], []
    for precision in ("float32", "int8"):
        path = tmp_path / f"{precision}{kind.suffix}"
        written(policy, stored(Acting(policy), precision), kind, path, precision)
        sizes.append(path.stat().st_size)
    assert sizes[1] < share * sizes[0]


# ---------------------------------------------------------------------------------------------------------- sampling


def test_noise_draws_what_the_distributions_draw():
    like, generator = torch.randn(500, 4), torch.Generator()
    noise = torch.empty(500, 4).normal_(generator=generator.manual_seed(3))
    gaussian = Gaussian(like, torch.tensor([-1.0, 0.0, 0.5, 9.0]))
    assert torch.equal(drawn(gaussian, noise), gaussian.sample(generator.manual_seed(3)))
    race = torch.empty(500, 4).exponential_(generator=generator.manual_seed(3))
    categorical = Categorical(like)
    assert torch.equal(drawn(categorical, -torch.expm1(-race)), categorical.sample(generator.manual_seed(3)))


def test_the_greedy_actions_are_left_with_probability_epsilon():
    noise = torch.rand(200_000, 2, generator=torch.Generator().manual_seed(0))
    found = drawn(EpsilonGreedy(torch.tensor([0.0, 2.0, 1.0, 1.0]).expand(200_000, 4), torch.tensor(0.4)), noise)
    share = torch.bincount(found, minlength=4) / 200_000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.7, 0.1, 0.1]), rtol=0.0, atol=0.005)


# ------------------------------------------------------------------------------------------------------ other machines


def alone(code, *args, without):
    """What a process prints in which those modules cannot be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({without!r}))\n"
    done = subprocess.run([sys.executable, "-c", blocked + code, *args], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PLAY = """
import json, runpy
policy = runpy.run_path(sys.argv[1])["Policy"](sys.argv[2])
assert not any(name.startswith("gpusim") and module for name, module in sys.modules.items())
steps = json.loads(sys.argv[3])
print(json.dumps([policy(obs, begun).tolist() for obs, begun in steps]))
"""


@pytest.mark.parametrize(
    ("format", "player", "without"),
    [
        pytest.param("torch", policy_torch, ["gpusim", "numpy", "gymnasium", "triton"], marks=pytest.mark.slow),
        ("json", policy_numpy, ["gpusim", "torch", "gymnasium", "triton", "onnxruntime"]),
        pytest.param("onnx", policy_numpy, ["gpusim", "torch", "gymnasium", "triton"], marks=pytest.mark.slow),
    ],
)
def test_it_is_played_without_gpusim_and_remembers(format, player, without, tmp_path):
    policy, kind = made(*CASES["ppo, lstm"]), FORMATS[format]
    file = tmp_path / f"policy{kind.suffix}"
    written(policy, Acting(policy), kind, file)
    shutil.copy(player.__file__, tmp_path / "player.py")
    generator, played, steps = torch.Generator().manual_seed(0), InPlay(policy), []
    for step in range(6):
        begun = None if step == 0 else [step == 3, False]
        steps.append((torch.randn(2, 3, generator=generator).tolist(), begun))
    found = alone(PLAY, str(tmp_path / "player.py"), str(file), json.dumps(steps), without=without)
    wanted = [played(torch.tensor(obs), begun and torch.tensor(begun)).tolist() for obs, begun in steps]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6)
    forgetful = [InPlay(policy)(torch.tensor(obs)).tolist() for obs, _ in steps]
    assert np.abs(np.array(forgetful) - wanted)[1:].max() > 1e-3


@pytest.mark.parametrize(
    ("format", "player"), [pytest.param("torch", policy_torch, marks=pytest.mark.slow), ("json", policy_numpy)]
)
def test_lines_of_observations_become_lines_of_actions(format, player, tmp_path):
    policy, kind = made(*CASES["a2c"]), FORMATS[format]
    file, batches = tmp_path / f"policy{kind.suffix}", [[[0.1, 0.2, 0.3, 0.4]], [[1.0, 0, 0, 0], [0, 0, -1.0, 0]]]
    written(policy, Acting(policy, samples=True), kind, file)
    lines = "".join(json.dumps(batch) + "\n" for batch in batches)
    command = [sys.executable, player.__file__, str(file)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(x) for x in answers] == [1, 2]
    assert set(answers[0] + answers[1]) <= {0, 1}


@pytest.mark.parametrize("format", ["torch", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_file_tells_nothing_of_the_machine_it_was_made_on(format, tmp_path):
    policy, kind = made(*CASES["ppo, gru"]), FORMATS[format]
    file = tmp_path / f"policy{kind.suffix}"
    written(policy, Acting(policy), kind, file)
    content = [file.read_bytes()]
    if zipfile.is_zipfile(file):
        archive = zipfile.ZipFile(file)
        content = [archive.read(name) for name in archive.namelist()]
    assert not any(
        word in part
        for part in content
        for word in (b"site-packages", str(Path.home()).encode() + b"/", b"networks.py")
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_compiled_for_this_processor(tmp_path):
    policy = made(*CASES["ppo, gru"])
    acting = Acting(policy)
    run = written(policy, acting, AOT, tmp_path / "policy.aot.pt2")
    assert differ(run, policy, acting) <= 1e-5
    assert policy_torch.Policy(tmp_path / "policy.aot.pt2")(torch.zeros(3, 4)).shape == (3,)


# ------------------------------------------------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run that learned by products in bf16."""
    path = tmp_path_factory.mktemp("runs") / "short"
    settings = {"num_envs": 8, "num_steps": 16, "total_steps": 256, "precision": "bf16", "run_dir": str(path)}
    a2c.train(a2c.Config(env="CartPole-v1", **settings))
    return path


def test_a_run_becomes_a_file_and_a_card(run, tmp_path, capsys):
    out = tmp_path / "cart.json"
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run), "--format", "json", "--out", str(out), "--precision", "int8", "--episodes", "20"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "answers 1,000 observations as the policy does" in said
    assert "over 20 episodes in int8" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cart.json", "cart.json.card.json"]
    card = json.loads((tmp_path / "cart.json.card.json").read_text())
    assert card["bytes"] == out.stat().st_size
    assert card["trained"]["steps"] == 256
    assert card["observation"]["low"][1] is None
    assert card["checked"]["largest_difference"] <= 1e-6
    assert card["versions"]["torch"] == str(torch.__version__)
    policy = load_policy(run, True, "cpu", precision="tf32x3")
    mean = float(evaluate(policy, "CartPole-v1", 20, 1_000_000, "cpu").mean())
    assert card["scores"]["policy"]["mean"] == pytest.approx(mean)
    assert {x["name"] for x in policy_numpy.Policy(out).card["inputs"]} == {"obs"}
    assert not any(word in out.read_text() for word in ("Infinity", "NaN"))  # which JSON has not


def test_the_policy_is_exported_in_float32_though_it_was_trained_in_bf16(run, tmp_path):
    done = export(run, "torch", tmp_path / "a.pt2")
    assert done.card["trained"]["precision"] == "bf16"
    played = policy_torch.Policy(done.path)
    low, exact = (load_policy(run, True, "cpu", precision=p).network for p in (None, "tf32x3"))
    obs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    scores = played.run({"obs": obs})["scores"]
    torch.testing.assert_close(scores, exact.distribution(obs).logits, rtol=0.0, atol=1e-6)
    assert float((scores - low.distribution(obs).logits).detach().abs().max()) > 1e-5


def test_one_that_answers_otherwise_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch):
    export(run, "json", tmp_path / "policy.json")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def spoiled(graph, path, card):
        formats.write_json(graph, path, card)
        content = json.loads(path.read_text())
        weights = next(x for name, x in content["weights"].items() if name.endswith("actor.4.bias"))
        weights["values"][0] += 2e-5
        path.write_text(json.dumps(content))

    monkeypatch.setitem(exporting.FORMATS, "json", FORMATS["json"]._replace(write=spoiled))
    with pytest.raises(
        InputError, match=r"answers otherwise than the policy, by [12]\.\de-05 where 1.0e-06 is allowed"
    ):
        export(run, "json", tmp_path / "policy.json")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere"], "there is no run folder nowhere"),
        ([], "export needs a run folder: gpusim export runs/..."),
        (["RUN", "--out", "policy.pt"], "policy.pt must end in .onnx, as its format has it."),
        (["RUN", "--out", "/no/such/policy.onnx"], "there is no folder /no/such to write policy.onnx into."),
        (["RUN", "--aot"], "aot compiles what torch runs, and the format is onnx: say --format torch, or leave it off."),
        (["RUN", "--precision", "fp8"], "precision"),
        (["RUN", "--format", "json", "--episodes", "0"], "episodes must be"),
        (["RUN", "--out="], "out"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(args, sentence, run, capsys):
    before = sorted(run.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(["export", *[str(run) if word == "RUN" else word for word in args]])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert sentence in said
    assert said.count("\n") == 1
    assert sorted(run.rglob("*")) == before


def test_a_missing_library_is_named(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run)])
    assert stop.value.code == 2
    assert 'ONNX needs onnx, which is not installed: pip install "gpusim[export]"' in capsys.readouterr().err
    assert not list(run.glob("policy*")) + list(run.glob(".export*"))


def test_a_missing_compiler_is_told(run, tmp_path, monkeypatch):
    def none(*_, **__):
        raise RuntimeError("no compiler found\nmore")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", none)
    with pytest.raises(InputError, match=r"it needs a C\+\+ compiler, as g\+\+ is\): no compiler found$"):
        export(run, "torch", tmp_path / "policy.aot.pt2", aot=True)
    assert list(tmp_path.iterdir()) == []


def test_the_state_that_begins_anew_is_the_empty_one():
    policy = made(*CASES["ppo, gru"])
    acting, obs = Acting(policy), torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    state = torch.randn(2, 1, acting.state[0].shape[1], generator=torch.Generator().manual_seed(2))
    found = acting({"obs": obs, "begun": torch.tensor([True, False]), "state0": state})["scores"]
    fresh, _ = distribution_of(acting.network, obs, (torch.zeros_like(state),), torch.zeros(2, dtype=torch.bool))
    assert torch.equal(found[0], fresh.logits[0])
    assert not torch.equal(found[1], fresh.logits[1])


@pytest.mark.slow
def test_ppo_trained_and_exported_scores_alike(tmp_path):
    path = tmp_path / "run"
    ppo.train(ppo.Config(env="CartPole-v1", total_steps=20_000, run_dir=str(path)))
    done = export(path, "json", tmp_path / "policy.json")
    acting = Acting(load_policy(path, True, "cpu"))
    replayed = proof.Replayed(policy_numpy.load(str(done.path))[0], acting, 0)
    returns = [evaluate(x, "CartPole-v1", 50, 3, "cpu") for x in (load_policy(path, True, "cpu"), replayed)]
    assert torch.equal(*returns)
