"""The command line with words of every kind: each is refused in a sentence, or does what it says."""

import dataclasses
import warnings

import pytest
from hypothesis import strategies as st

import gpusim.agents.app.info
import gpusim.agents.folder.drawing
from gpusim.agents.train import discovery
from gpusim.agents.train.ranges import hints
from tests.hostile.counts import Ledger, command, draw

EXAMPLES = 22  # of each kind
SMALL = {
    "num_envs": "4", "num_steps": "8", "minibatches": "2", "hidden": "4", "total_steps": "64", "capacity": "64",
    "batch_size": "16", "learning_starts": "16",
}  # fmt: skip
WORDS = (
    "", " ", "8", "0", "-1", "1e3", "1k", "nan", "inf", "-inf", "1.5", "1e999", "9" * 400, "0x10", "1_000", "1,5",
    "True", "none",
    "None", "auto", "cpu", "cuda:99", "gpu", "ü", "日本", "\ud800", "a\nb", "x" * 5000, "..", "/", "~", "-", "--",
    "---", "-x", "=",
    "--=", "--8", "[1]", "{}", "1..4", "4..1", "1..x", "null", "CartPole-v1", "ppo", "@", "%s", "\x1b[31m", "\0", "'",
    '"', "$HOME", "*",
)  # fmt: skip
NONE = (
    "",
    " ",
    "nan",
    "ü",
    "日本",
    "a\nb",
    "x" * 5000,
    "..",
    "/",
    "~",
    "=",
    "[1]",
    "{}",
    "1..x",
    "@",
    "%s",
    "*",
    "0x10",
    "1,5",
    "gpu",
)
FLAGS = (
    "--help",
    "-h",
    "--version",
    "--verbose",
    "--num_envs",
    "--no-trust",
    "--trust",
    "--seed=",
    "--seed=1=2",
    "--num-envs 8",
    "-n",
)
MANY = ("9" * 400, "1e999", "1e3", "1k", "1_000")


def sets(algorithm):
    """`--flag value` of one setting after small ones, and whether it can be meant."""

    @st.composite
    def drawn(draw):
        kind = dict(hints(discovery.module(algorithm).Config()))
        small = {name: value for name, value in SMALL.items() if name in kind}
        name = draw(st.sampled_from(sorted(set(kind) - {"env", "run_dir"})))
        words = [w for w in WORDS if w not in MANY or name in ("seed", "learning_rate", "gamma")]
        word, text = draw(st.sampled_from(words)), str(kind[name])
        number = ("int" in text or "float" in text) and "bool" not in text and "tuple" not in text
        wrong = number and (word in NONE or (word in ("1.5", "-1", "inf", "1e999") and "float" not in text))
        args = [x for n, v in small.items() if n != name for x in (f"--{n.replace('_', '-')}", v)]
        flag = f"--{name.replace('_', '-')}"
        return [*args, *((flag, word) if draw(st.booleans()) else (f"{flag}={word}",))], not wrong

    return drawn()


@st.composite
def training(draw):
    algorithm = draw(st.sampled_from(list(discovery.algorithms())))
    args, meant = draw(sets(algorithm))
    return ["train", algorithm, "CartPole-v1", *args], meant


@st.composite
def learned(draw):
    """What is trained, and on what."""
    algorithm = draw(st.sampled_from(["ppo", "PPO", "sac", *WORDS]))
    env = draw(st.sampled_from(["CartPole-v9", "LunarLander", "nowhere:A-v0", "nowhere.py:A-v0", "a:b:c", *WORDS]))
    small = ["--num-envs", "4", "--num-steps", "8", "--minibatches", "2", "--hidden", "4", "--total-steps", "64"]
    return ["train", algorithm, env, *small], algorithm == "ppo" and env == "CartPole-v1"


@st.composite
def anything(draw):
    """Words in any order."""
    commands = ["train", "resume", "eval", "plot", "envs", "info", "Train", "help"]
    words = draw(st.lists(st.sampled_from([*WORDS, *FLAGS]), max_size=3))
    return [draw(st.sampled_from([*commands, *WORDS])), *words], None


def of_run(name, flags):
    @st.composite
    def drawn(draw):
        where = draw(st.sampled_from(["RUN", "RUN", "RUN", *WORDS]))
        flag, values = draw(st.sampled_from(sorted(flags.items())))
        word = draw(st.sampled_from([*values, *WORDS]))
        return [name, where, *((flag, word) if flag else (word,))], None

    return drawn()


KINDS = {
    "settings of train": training(),
    "what is trained, and on what": learned(),
    "words in any order": anything(),
    "resume": of_run("resume", {
        "--total-steps": ["64", "32"], "--target-return": ["3"], "--log-every": ["2"], "--checkpoint-every": ["2"],
        "--device": ["cpu"],
        "--seed": ["1"], "--hidden": ["9"], "--trust": ["--trust"], "": ["--help"],
    }),
    "eval": of_run("eval", {
        "--episodes": ["3"], "--seed": ["4"], "--device": ["cpu"], "--stochastic": ["--stochastic"],
        "--oracle": ["--oracle"],
        "--video": ["nothing", "no/where.mp5", "."], "": ["--help"],
    }),
    "plot": of_run("plot", {
        "--out": ["a.png", "a.nothing", "."], "--x": ["steps", "Steps"], "--metric": ["return", "kl", "nothing"],
        "--seed": ["1"],
        "": ["RUN", "--help", "--trajectory"],
    }),
    "bench": st.tuples(
        st.sampled_from(["--num-envs", "--backend", "--mode", "--rounds", "--seconds", "--device", "--steps"]),
        st.sampled_from([w for w in WORDS if w not in {*MANY, "8", "1..4", "auto", "cpu", "1.5", "None", "none",
            "null", "1e999", "9" * 400}]),
    ).map(lambda x: (["bench", *x, "--rounds=x"], False)),
    "envs and info": st.tuples(st.sampled_from(["envs", "info"]), st.sampled_from([*WORDS,
    *FLAGS])).map(lambda x: (list(x), None)),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    where = tmp_path_factory.mktemp("words") / "run"
    assert (
        command(
            "train",
            *[
                "ppo",
                "CartPole-v1",
                "--num-envs",
                "4",
                "--num-steps",
                "8",
                "--minibatches",
                "2",
                "--hidden",
                "4",
                "--total-steps",
                "64",
            ],
            "--run-dir",
            where,
        ).code
        == 0
    )
    return where


def test_of_words_none_is_raw_and_none_silently_wrong(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpusim.agents.folder.drawing, "save", lambda *args: None)
    monkeypatch.setattr(gpusim.agents.folder.drawing, "curve", lambda *args: None)
    monkeypatch.setattr(gpusim.agents.app.info, "main", lambda: None, raising=False)
    ledger = Ledger()

    def tried(kind, drawn):
        args, meant = drawn
        args = [str(trained) if word == "RUN" else word for word in args]
        with warnings.catch_warnings(action="ignore"):
            answer = command(*args)
        ledger.note(kind, repr(args), answer, lambda answer: meant is not False)

    for kind, drawn in KINDS.items():
        draw(lambda x: tried(*x), st.tuples(st.just(kind), drawn), EXAMPLES)
    print(f"\n{ledger}")
    assert not ledger.bad, "\n\n".join(ledger.bad)


def test_settings_have_a_small_form():
    fields = {
        f.name for algorithm in discovery.algorithms() for f in dataclasses.fields(discovery.module(algorithm).Config)
    }
    assert set(SMALL) <= fields
