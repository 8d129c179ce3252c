"""A population: each agent is what a run of its own would be, whoever is beside it; how agents are chosen; any as a run."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gpusim.agents import ppo
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.population import memory, training
from gpusim.agents.population.learner import Population
from gpusim.agents.population.members import drawn, explored, grid
from gpusim.agents.population.optimizer import StackedAdam
from gpusim.agents.population.pictures import founders
from gpusim.agents.population.saving import PopulationFolder
from gpusim.agents.population.search import Descent, Evolution, halved, ranked, rounds_at
from gpusim.agents.population.training import Search, train
from gpusim.agents.train.environments import describe
from gpusim.agents.train.run import RunFolder, make_learner
from gpusim.agents.train.vary import Choice, Span
from gpusim.errors import InputError
from gpusim.kernels.cpp import compiler
from tests.agents.test_run import gpusim as command

SMALL = {"device": "cpu", "num_envs": 16, "num_steps": 8, "minibatches": 2, "epochs": 2, "hidden": (16, 32)}
SMALL |= {"total_steps": 16 * 8 * 20, "normalize_reward": False}
OWN = [
    {"seed": 0, "learning_rate": 1e-2, "gamma": 0.9, "clip": 0.2, "lam": 0.9},
    {"seed": 5, "learning_rate": 1e-3, "gamma": 0.99, "clip": 0.1, "entropy_coef": 0.02},
    {"seed": 9, "learning_rate": 3e-3, "gamma": 0.97, "max_grad_norm": 0.01, "value_coef": 0.1},
    {"seed": 2**62, "learning_rate": 3e-2, "initial_log_std": -1.0},
]
KINDS = {
    "plain": {"env": "CartPole-v1"},
    "normalized": {"env": "Pendulum-v1", "normalize_obs": True, "normalize_reward": True, "clip_value": True},
    "rewards": {"env": "CartPole-v1", "normalize_reward": True, "normalize_advantage": False, "anneal": False},
    "clipped": {"env": "Acrobot-v1", "normalize_obs": True, "clip_reward": True, "activation": "relu"},
}
needs_compiler = pytest.mark.skipif(not compiler(), reason="runs draw their actions by Philox in C++ alone, on a CPU")


def members(count=4, **changes):
    base = ppo.Config(**SMALL | {"env": "CartPole-v1"} | changes)
    return base, [dataclasses.replace(base, **own) for own in OWN[:count]]


def population(count=4, **changes):
    return Population(*members(count, **changes))


def close(one, other, tolerance=1e-4):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


def assert_same(many, p, run):
    """Number `p` is the run."""
    close(many.network.flat[p], run.optimizer.flat)
    for name, x in run.network.state_dict().items():
        close(many.network.state(p)[name], x)
    for mine, theirs in ((many.adam, run.optimizer), (many.window, run.window), (many.reward_scale, run.reward_scale)):
        if mine:
            for name, x in theirs.state_dict().items():
                close(mine.state(p)[name], x)


# ------------------------------------------------------------------------------------------------------- as runs


@needs_compiler
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("count", [1, 4])
def test_each_is_a_run_of_its_own(count, changes):
    base, own = members(count, **changes)
    many, runs = Population(base, own), [ppo.PPO(member) for member in own]
    for _ in range(4):
        metrics, each = many.iterate(), [run.iterate() for run in runs]
        for p, run in enumerate(runs):
            assert metrics.keys() == each[p].keys()
            for name, value in each[p].items():
                close(metrics[name][p], value)
            assert_same(many, p, run)
    assert many.steps == runs[0].steps


def test_who_is_beside_an_agent_does_not_matter():
    few, many = population(2), population(4)
    for _ in range(3):
        few.iterate()
        many.iterate()
    close(few.network.flat, many.network.flat[:2], 1e-6)


def test_one_that_comes_apart_harms_no_other():
    base, own = members(3)
    lost = dataclasses.replace(own[1], learning_rate=10.0, max_grad_norm=1e9, value_coef=1e9)
    many, alone = Population(base, [own[0], lost, own[2]]), Population(base, own)
    many.network.flat[1] = torch.nan
    for _ in range(3):
        many.iterate()
        alone.iterate()
    close(many.network.flat[::2], alone.network.flat[::2], 1e-6)
    assert many.returns().isnan().tolist() == [False, True, False]
    assert ranked(many.returns())[-1] == 1


class Counted(TorchDispatchMode):
    """How many operations there were, but for the permutations that a CPU draws one by one."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += "randperm" not in str(function)
        return function(*args, **kwargs or {})


def test_the_number_of_operations_does_not_depend_on_that_of_agents():
    counts = []
    for count in (2, 4):
        many = population(count, env="Pendulum-v1", normalize_obs=True, normalize_reward=True)
        many.iterate()
        with Counted() as counted:
            many.iterate()
        counts.append(counted.count)
    assert counts[0] == counts[1] > 500


def test_adam_of_each_row_is_adam():
    draw = torch.Generator().manual_seed(0)
    flat, norms, rates = (
        torch.randn(3, 7, generator=draw),
        torch.tensor([0.5, 1.0, 100.0]),
        torch.tensor([1e-2, 1e-3, 0.1]),
    )
    apart = [torch.nn.Parameter(row.clone()) for row in flat]
    optimizers = [Adam([x], max_grad_norm=norm) for x, norm in zip(apart, norms.tolist(), strict=True)]
    together = StackedAdam(flat, norms)
    for _ in range(5):
        grad = torch.randn(3, 7, generator=draw)
        for p, optimizer in enumerate(optimizers):
            optimizer.step((optimizer.trained[0] * grad[p]).sum(), rates[p].item())
        together.step(grad.clone(), rates)
    close(flat, torch.stack([optimizer.flat for optimizer in optimizers]), 1e-6)


# ------------------------------------------------------------------------------------------------------- members


def test_draws_are_spread_and_the_same_again():
    base, _ = members()
    varied = {"learning_rate": Span(1e-4, 1e-2, True), "gamma": Span(0.9, 1.0), "clip": Choice(("0.1", "0.3"))}
    found = drawn(base, varied, 1000)
    assert found == drawn(base, varied, 1000) != drawn(dataclasses.replace(base, seed=1), varied, 1000)
    rates = np.log10([member.learning_rate for member in found])
    assert np.percentile(rates, (0, 25, 50, 75, 100)) == pytest.approx([-4, -3.5, -3, -2.5, -2], abs=0.1)
    gammas = [member.gamma for member in found]
    assert np.mean(gammas) == pytest.approx(0.95, abs=0.01)
    assert 0.4 < np.mean([member.clip == 0.1 for member in found]) < 0.6
    assert [member.seed for member in found] == list(range(1000))


def test_a_grid_has_every_combination_and_other_seeds_when_it_comes_again():
    base, _ = members(seed=3)
    varied = {"gamma": Choice(("0.9", "0.99")), "learning_rate": Choice(("1e-3", "1e-2", "2e-2"))}
    found = grid(base, varied, 12)
    pairs = [(member.gamma, member.learning_rate) for member in found]
    assert len(set(pairs)) == 6
    assert pairs[:6] == pairs[6:]
    assert [member.seed for member in found] == [3] * 6 + [4] * 6
    assert [member.seed for member in grid(base, {"seed": Span(4, 6)}, None)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("varied", "agents", "sentence"),
    [
        ({}, None, "a grid is of settings with several values each"),
        ({"gamma": Choice(("0.9", "0.99"))}, 3, "3 agents are no whole number of grids of 2: say --agents 4."),
        ({"seed": Span(0, 4)}, 10, "a grid over seeds has 5 agents, not 10"),
        ({"gamma": Span(0.9, 0.99)}, None, "a grid needs several values of gamma"),
    ],
    ids=str,
)
def test_a_grid_that_cannot_be_is_refused(varied, agents, sentence):
    with pytest.raises(InputError, match=sentence):
        grid(members()[0], varied, agents)


@pytest.mark.parametrize(
    ("name", "value", "up", "new"),
    [
        ("learning_rate", 1e-3, True, 1.25e-3),
        ("gamma", 0.9, True, 0.875),
        ("gamma", 0.9, False, 0.92),
        ("clip", 0.2, False, 0.16),
    ],
)
def test_what_is_explored_is_near_and_within_its_span(name, value, up, new):
    assert explored(value, name, 1.25, up, Span(1e-4, 1.0)) == pytest.approx(new)
    assert explored(value, name, 1.25, up, Span(value, value + 1e-9)) == pytest.approx(value)


# --------------------------------------------------------------------------------------------------------- chosen


def test_agents_are_compared_at_equal_distances():
    assert rounds_at(100, 3) == [25, 50, 75]
    assert rounds_at(3, 8) == [1, 2]
    assert ranked(torch.tensor([1.0, math.nan, 3.0, -math.inf])).tolist() == [2, 0, 1, 3]


@needs_compiler
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_those_that_are_kept_go_on_as_if_nothing_had_been(share):
    base, own = members(normalize_obs=True, normalize_reward=True)
    many, runs = Population(base, own), [ppo.PPO(member) for member in own]
    for _ in range(3):
        many.iterate()
        for run in runs:
            run.iterate()
    many.window.tensors["returns"].fill_(0.0)
    for p, worth in enumerate((2.0, 4.0, 1.0, 3.0)):
        many.window.tensors["returns"][p] = worth
    rows = halved(many, share)
    assert rows.tolist() == ([1, 3] if share == 0.5 else [1])
    assert len(many) == len(rows)
    for _ in range(2):
        many.iterate()
        for run in runs:
            run.iterate()
    for p, number in enumerate(rows.tolist()):
        close(many.network.flat[p], runs[number].optimizer.flat)
        assert many.members[p] == own[number]


def test_the_worst_go_on_with_what_the_best_have_learned():
    base, own = members(normalize_obs=True, normalize_reward=True)
    many = Population(base, own)
    for _ in range(3):
        many.iterate()
    many.returns = lambda: torch.tensor([3.0, 1.0, 4.0, 2.0])
    before = {name: getattr(many.adam, name).clone() for name in ("flat", "moment1", "moment2")}
    running, states = many.reward_scale.tensors["running"].clone(), many.env.get_state()
    evolution = Evolution({"learning_rate": Span(1e-5, 1.0, True)}, 0.25, 1.25, 0)
    evolution.round(many)
    assert [(d.child, d.parent) for d in evolution.descents] == [(1, 2)]
    for name, x in before.items():
        assert torch.equal(getattr(many.adam, name), x[[0, 2, 2, 3]])
    assert many.adam.flat is many.network.flat
    assert torch.equal(many.reward_scale.tensors["running"], running)
    assert torch.equal(many.env.get_state().elapsed, states.elapsed)
    assert [member.seed for member in many.members] == [member.seed for member in own]
    child, parent = many.members[1], many.members[2]
    assert child.learning_rate in (
        pytest.approx(parent.learning_rate * 1.25),
        pytest.approx(parent.learning_rate / 1.25),
    )
    assert (child.gamma, child.value_coef) == (parent.gamma, parent.value_coef)
    assert many.own["gamma"].tolist() == pytest.approx([0.9, 0.97, 0.97, ppo.Config(env="CartPole-v1").gamma])
    assert evolution.descents[0].settings == {"learning_rate": child.learning_rate}
    many.iterate()
    assert not torch.equal(many.network.flat[1], many.network.flat[2])


def test_founders_by_hand():
    descents = [Descent(10, 0, 2, {}), Descent(10, 1, 3, {}), Descent(20, 3, 0, {}), Descent(20, 0, 1, {})]
    found = founders(descents, 4)
    assert [(steps, whose.tolist()) for steps, whose in found] == [
        (0, [0, 1, 2, 3]), (10, [2, 3, 2, 3]), (20, [3, 3, 2, 2]),
    ]  # fmt: skip


@pytest.mark.parametrize("search", ["random", "halving", "pbt"])
def test_a_search_leaves_a_line_for_each_that_there_was(search):
    base, _ = members()
    outcome = train(base, Search(agents=8, search=search, rounds=2), {"learning_rate": Span(1e-4, 1e-2, True)})
    rows = training.table(outcome, ["learning_rate"])
    assert sorted(row["agent"] for row in rows) == list(range(8))
    left = {"random": 8, "halving": 2, "pbt": 8}[search]
    assert sum(row["left"] for row in rows) == left == len(outcome.population)
    assert len(outcome.descents) == (4 if search == "pbt" else 0)
    ended = {row["iterations"] for row in rows}
    assert ended == ({6, 13, 20} if search == "halving" else {20})
    number = int(outcome.record.numbers[0])
    readings = outcome.record.of(number)
    assert [reading["iteration"] for reading in readings] == list(range(1, 21))
    assert set(readings[0]) >= {"steps", "seconds", "return", "length", "episodes", "total", "learning_rate"}


def test_an_interrupt_ends_the_iteration_first():
    base, _ = members()

    def tell(reading, many):
        if reading["iteration"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = train(base, Search(agents=2), {}, tell)
    assert (outcome.signal, outcome.population.iteration) == (signal.SIGINT, 3)
    assert outcome.record.iteration == 3


# --------------------------------------------------------------------------------------------------------- memory


def test_too_many_are_refused_with_the_most_that_fit(monkeypatch):
    base, _ = members()
    task, device = describe(base.env), torch.device("cpu")
    free = sum(part.size for part in memory.takes(base, task, 1000)) + 10
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    monkeypatch.setattr(memory, "LITTLE", 0)
    with pytest.raises(
        InputError, match=r"of 5,000 agents does not fit .*rollouts .*update .*: lower agents, 1000 fit\.$"
    ):
        memory.require(base, task, 5000, device)
    memory.require(base, task, 1000, device)
    with pytest.raises(InputError):
        memory.require(base, task, 1001, device)


PEAK = """
import dataclasses, sys
from gpusim.agents import ppo
from gpusim.agents.bench.memory import resident
from gpusim.agents.population import memory
from gpusim.agents.population.learner import Population
from gpusim.agents.train.environments import describe

agents, num_envs, width = map(int, sys.argv[1:])
base = ppo.Config(env="CartPole-v1", device="cpu", num_envs=num_envs, num_steps=32, minibatches=4, hidden=(width, width))
Population(base, [dataclasses.replace(base, seed=seed) for seed in range(2)]).iterate()
before = resident("VmHWM")
many = Population(base, [dataclasses.replace(base, seed=seed) for seed in range(agents)])
many.iterate()
print(resident("VmHWM") - before, sum(part.size for part in memory.takes(base, describe(base.env), agents)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(400, 8, 32), (100, 64, 32), (400, 8, 128)], ids=str)
def test_what_is_told_is_near_the_peak(sizes):
    done = subprocess.run([sys.executable, "-c", PEAK, *map(str, sizes)], capture_output=True, text=True, check=True)
    real, told = map(int, done.stdout.split())
    assert 0.6 * real < told < 1.4 * real


# -------------------------------------------------------------------------------------------------------- as runs

FLAGS = ["--num-envs", "16", "--num-steps", "8", "--minibatches", "2", "--hidden", "16", "32", "--device", "cpu"]


@needs_compiler
def test_an_agent_is_saved_as_a_run_that_goes_on_like_one(tmp_path, capsys):
    """Saved by a population that was interrupted: eval, plot and resume know it, and it ends where a run of its own does."""
    base, own = members(normalize_obs=True, checkpoint_every=1000)
    many = Population(base, own)
    record = training.Record(many)
    for _ in range(9):
        record.add(many, many.iterate())
    folder = PopulationFolder.create(tmp_path / "many", {"search": "none"})
    folder.keep(many, range(4), {p: record.of(p) for p in range(4)})
    run = folder.save(1)
    whole = ppo.train(dataclasses.replace(own[1], run_dir=str(tmp_path / "alone"))).learner
    assert command("resume", run) == 0
    assert command("eval", run, "--episodes", "3") == 0
    assert command("plot", run, tmp_path / "alone", "--out", tmp_path / "both.png") == 0
    ended = RunFolder.open(run)
    again = make_learner("ppo", ended.config)
    ended.restore(again)
    close(again.optimizer.flat, whole.optimizer.flat)
    assert torch.equal(again.generator.get_state(), whole.generator.get_state())
    assert [reading["iteration"] for reading in ended.metrics()] == list(range(1, 21))
    alone = RunFolder.open(tmp_path / "alone").metrics()
    assert [reading["return"] for reading in ended.metrics()] == pytest.approx(
        [reading["return"] for reading in alone], abs=0.5
    )
    with pytest.raises(InputError, match="exists already"):
        folder.save(1)
    with pytest.raises(InputError, match="no agent 7 to save"):
        folder.save(7)


@pytest.mark.slow
def test_the_command_leaves_a_folder_with_pictures_and_the_best(tmp_path, capsys):
    path = tmp_path / "many"
    way = ["--agents", "6", "--total-steps", "2560", "--run-dir", path, "--save", "2"]
    varied = ["--learning-rate", "log:1e-4..1e-2", "--gamma=0.9,0.99"]
    assert command("population", "ppo", "CartPole-v1", *FLAGS, *way, *varied, "--search", "pbt", "--rounds", "3") == 0
    out = capsys.readouterr().out
    assert out.startswith("memory of 6 agents: rollouts ")
    assert {p.name for p in path.iterdir()} == {
        "agents", "agents.csv", "population.json", "population.pt", "returns.png", "settings.png", "genealogy.png",
    }  # fmt: skip
    content = json.loads((path / "population.json").read_text())
    assert content["varied"] == {"learning_rate": "log:1e-4..1e-2", "gamma": "0.9,0.99"}
    best = [int(p.name) for p in (path / "agents").iterdir()]
    assert len(best) == 2
    assert json.loads((path / "agents" / f"{best[0]:04d}" / "result.json").read_text())["episodes"] == 100
    other = next(p for p in range(6) if p not in best)
    assert command("population", path, "--agent", str(other)) == 0
    assert command("eval", path / "agents" / f"{other:04d}", "--episodes", "2") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hidden", "32,64"], "hidden cannot differ between the agents of a population"),
        (["--nosuch", "1,2"], "ppo has no setting 'nosuch' that could differ between agents."),
        (["--learning-rate", "1..100"], "learning_rate must be positive and at most 10, not 100.0."),
        (["--gamma", "0.9,high"], "gamma must be a number, not 'high'."),
        (["--agents", "0"], "agents must be at least 1, not 0."),
        (["--agents", "100000000000"], "lower agents, "),
        (["--search", "best"], "search must be random, grid, halving or pbt, not 'best'."),
        (["--search", "pbt"], "pbt explores settings: vary one"),
        (["--search", "pbt", "--clip", "0.1,0.2", "--agents", "1"], "pbt needs two agents at least."),
        (["--share", "0.7"], "share must be positive and at most 0.5, not 0.7."),
        (["--target-kl", "0.1"], "target_kl ends the updates of one agent"),
        (["--network", "gru"], "agents of a population remember nothing, as gru does"),
        (["--precision", "bf16"], "a population multiplies in float32, not in bf16"),
        (["--accumulate", "2"], "a population makes its gradients at once"),
        (["--backend", "native"], 'a population steps by backend "eager" or "compile", not "native".'),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_one_line(words, sentence, tmp_path, capsys):
    assert command("population", "ppo", "CartPole-v1", "--device", "cpu", "--run-dir", tmp_path / "many", *words) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "many").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dqn", "CartPole-v1"], "a population is of ppo's agents, not of dqn's."),
        (["ppo"], "ppo is not the folder of a population: it has no population.json."),
        (["nowhere", "--agent", "1"], "nowhere is not the folder of a population"),
        (["ppo", "Reacher-of-none"], "Reacher-of-none"),
        ([], "population needs ppo and an environment"),
    ],
    ids=str,
)
def test_other_words_are_refused(words, sentence, capsys):
    assert command("population", *words) == 2
    assert sentence in capsys.readouterr().err
