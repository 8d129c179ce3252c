"""How learners of action values explore: the schedules, and rules of the user's own."""

import pytest
import torch

import gpusim
from gpusim.agents import pqn
from gpusim.agents.exploration import Repeat, find, linear

SMALL = {"num_envs": 8, "num_steps": 4, "minibatches": 2, "total_steps": 320, "hidden": (8,), "device": "cpu"}
HERE = "tests.agents.test_exploration"


def right(obs):
    return torch.ones(len(obs), dtype=torch.int32)


def against_the_pole(obs):
    return (obs[:, 2] < 0).long()


def too_great(obs):
    return torch.full((len(obs),), 2)


def halves(obs):
    return torch.full((len(obs),), 0.5)


def columns(obs):
    return obs[:, :1]


def numbers(obs):
    return [1] * len(obs)


def broken(obs):
    return obs @ obs


def learner(**changes):
    return pqn.PQN(pqn.Config(**SMALL | changes))


def test_a_schedule_is_a_line_and_then_flat():
    assert [linear(1.0, 0.2, 0.5, done) for done in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert linear(1.0, 0.2, 0.0, 0.0) == pytest.approx(0.2)


def test_epsilon_follows_its_schedule():
    it = learner(exploration=0.5)
    seen = [float(it.iterate()["epsilon"]) for _ in range(10)]
    assert seen == pytest.approx([1.0, 0.81, 0.62, 0.43, 0.24] + [0.05] * 5)


@pytest.mark.parametrize("rule", [right, against_the_pole])
def test_scripted_environments_do_what_the_rule_says(rule):
    it = learner(script=f"{HERE}:{rule.__name__}", script_start=1.0, script_end=1.0)
    it.explore()
    rollout = it.collect(16)
    assert torch.equal(rollout.action.flatten(), rule(rollout.obs.flatten(0, 1)).to(rollout.action.dtype))


def test_a_share_of_the_environments_follows_for_a_whole_iteration():
    it = learner(num_envs=2000, script=f"{HERE}:right", script_start=0.3, script_end=0.3, epsilon_start=1.0)
    it.explore()
    following = (it.collect(8).action == 1).all(0)  # by chance alone one in 256
    assert it.scripted.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert bool(following[it.scripted].all())
    assert following[~it.scripted].float().mean() < 0.03
    before = it.scripted
    it.collect(1)
    assert not torch.equal(before, it.scripted)


def test_the_share_follows_its_schedule():
    it = learner(script=f"{HERE}:right", script_start=0.8, script_end=0.2, script_until=0.4)
    shares = []
    for _ in range(10):
        it.iterate()
        shares.append(it.script_share.item())
    assert shares == pytest.approx([0.8, 0.65, 0.5, 0.35] + [0.2] * 6)


def test_the_rule_ends_with_its_share():
    it = learner(script=f"{HERE}:right", script_start=0.0, script_end=0.0, epsilon_start=1.0)
    it.explore()
    assert 0.3 < it.collect(32).action.float().mean() < 0.7


def test_a_random_action_is_repeated_and_no_other():
    repeat, generator = Repeat(4, 1.0), torch.Generator().manual_seed(0)
    first = repeat(
        torch.tensor([1, 2, 3, 4]), torch.tensor([True, False, True, False]), torch.rand(4, generator=generator)
    )
    second = repeat(
        torch.tensor([5, 6, 7, 8]), torch.tensor([False, True, True, False]), torch.rand(4, generator=generator)
    )
    third = repeat(torch.tensor([9, 9, 9, 9]), torch.tensor([False] * 4), torch.rand(4, generator=generator))
    assert (first.tolist(), second.tolist(), third.tolist()) == ([1, 2, 3, 4], [1, 6, 3, 8], [1, 6, 3, 9])


def test_random_actions_last_as_long_as_they_should():
    """From each state one in ten is random: of 8 steps on average, where 7 in 8 go on."""
    repeat, generator = Repeat(2000, 0.875), torch.Generator().manual_seed(0)
    begun = lasted = 0
    for _ in range(200):
        random = torch.rand(2000, generator=generator) < 0.1
        before = repeat.random.clone()
        repeat(torch.zeros(2000, dtype=torch.int64), random, torch.rand(2000, generator=generator))
        lasted += int(repeat.random.sum())
        begun += int((repeat.random & ~before).sum())
    ends = 0.125 * 0.9  # a random action ends, and no other begins at once
    assert lasted / begun == pytest.approx(1 / ends, rel=0.05)


def test_exploration_that_lasts_repeats_actions():
    it = learner(num_envs=500, repeat=0.9, epsilon_start=1.0)
    it.explore()
    action = it.collect(16).action
    assert (action[1:] == action[:-1]).float().mean() == pytest.approx(0.95, abs=0.02)


def test_a_rule_may_stand_in_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\ndef left(obs):\n    return torch.zeros(len(obs), dtype=torch.int64)\n"
    )
    assert find(f"{tmp_path / 'mine.py'}:left")(torch.zeros(3, 4)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("right", "script must be module:function or file.py:function, not 'right'."),
        (
            "no_such_module:f",
            "no_such_module cannot be imported: there is no module 'no_such_module', neither installed nor in ",
        ),
        ("no_such.py:f", "there is no file no_such.py."),
        (f"{HERE}:nothing", f"the script {HERE} has no function nothing."),
        (f"{HERE}:SMALL", f"the script {HERE} has no function SMALL."),
        (f"{HERE}:too_great", f"the script {HERE}:too_great must return actions from 0 to 1."),
        (f"{HERE}:halves", f"the script {HERE}:halves must return whole numbers on cpu, not torch.float32 on cpu."),
        (f"{HERE}:columns", f"the script {HERE}:columns must return a tensor [8] of actions, not [8, 1]."),
        (f"{HERE}:numbers", f"the script {HERE}:numbers must return a tensor [8] of actions, not list."),
        (f"{HERE}:broken", f"the script {HERE}:broken fails on observations [8, 4]: "),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(script, sentence):
    with pytest.raises(gpusim.InputError) as error:
        learner(script=script)
    assert str(error.value).startswith(sentence)


def test_continuous_actions_are_refused():
    with pytest.raises(gpusim.InputError) as error:
        learner(env="Pendulum-v1")
    assert (
        str(error.value) == "pqn chooses among discrete actions, and Pendulum-v1 has continuous ones: use sac or ppo."
    )


@pytest.mark.parametrize("changes", [{"script": f"{HERE}:right", "normalize_obs": True}, {"repeat": 0.8}])
def test_a_resumed_run_explores_as_the_unbroken_one(changes):
    whole, begun = learner(**changes), learner(**changes)
    for _ in range(6):
        whole.iterate()
    for _ in range(3):
        begun.iterate()
    resumed = learner(**changes)
    resumed.load(begun.state())
    for _ in range(3):
        resumed.iterate()
    assert torch.equal(whole.optimizer.flat, resumed.optimizer.flat)
