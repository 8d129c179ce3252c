"""What no run can mean is refused: for every field of every learner's configuration, in a sentence that names it."""

import dataclasses
import math
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

import gpusim
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce, sac, td3
from gpusim.agents.app.arguments import deciding, options
from gpusim.agents.train.ranges import OneOf, Range, hints, whole
from gpusim.errors import InputError

LEARNERS = {m.__name__.rpartition(".")[2]: m for m in (ppo, a2c, reinforce, dqn, pqn, sac, td3)}
NAN, INF = math.nan, math.inf
WRONG = {  # type by type, what is none of it
    int: ["8", 4.5, True, [64], None, NAN, INF, -INF, object(), 10**5000, -1, {}],
    float: ["0.1", True, [0.1], None, NAN, INF, -INF, object(), 1j, {}],
    bool: [1, 0, "yes", None, 0.0, [True]],
    str: [1, None, True, ["auto"], 0.5, object()],
    tuple: [64, "64", None, (), (0,), (64, -1), (64.5,), (True,), ("64",), ((64,),), {}],
}


def alternatives(hint):
    """The types that a field may have, and what is annotated to them."""
    for each in typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,):
        kind, *notes = typing.get_args(each) if typing.get_origin(each) is typing.Annotated else (each,)
        yield typing.get_origin(kind) or kind, notes


def wrong(hint):
    """Values that the field may not have."""
    kinds = dict(alternatives(hint))
    for kind, notes in kinds.items():
        for value in WRONG.get(kind, []):
            if not (value is None and type(None) in kinds) and not (value == -1 and Range() in notes):
                yield value
        for note in notes:
            if isinstance(note, OneOf):
                yield "no such word"
            elif note.high < INF:
                yield note.high + max(1, note.high)
            if isinstance(note, Range) and note.low > -INF:
                yield note.low - 1
            if isinstance(note, Range) and note.above:
                yield note.low


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_configuration_of_another_kind_is_refused(learner):
    for other in (None, {}, "CartPole-v1", LEARNERS[learner].Config, *(m.Config() for m in LEARNERS.values())):
        if isinstance(other, LEARNERS[learner].Config):
            continue
        with pytest.raises(InputError, match=f"is configured by a gpusim.agents.{learner}.Config, not by ") as error:
            LEARNERS[learner].train(other)
        assert len(str(error.value)) < 150


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_field_refuses_what_it_cannot_be(learner):
    config = LEARNERS[learner].Config(device="cpu")
    tried = 0
    for field, hint in hints(config).items():
        if field == "env":
            continue
        for value in wrong(hint):
            tried += 1
            with pytest.raises(InputError, match=rf"^{field} must ") as refused:
                dataclasses.replace(config, **{field: value}).check()
            assert str(refused.value).endswith(".")
            assert "\n" not in str(refused.value)
            assert len(str(refused.value)) < 200
    assert tried > 100


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_number_has_its_range(learner):
    for field, hint in hints(LEARNERS[learner].Config()).items():
        for kind, notes in alternatives(hint):
            assert kind in WRONG or kind is type(None)
            if kind in (int, float):
                assert notes, field


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_refused_is_never_begun(learner, tmp_path):
    config = LEARNERS[learner].Config(run_dir=tmp_path / "run", learning_rate=NAN)
    with pytest.raises(InputError, match="learning_rate must be positive and at most 10, not nan"):
        LEARNERS[learner].train(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("learner", "changes", "sentence"),
    [
        ("ppo", {"num_envs": 4, "num_steps": 4, "minibatches": 9}, "makes 0 of the advantage of a single step"),
        ("ppo", {"num_envs": 4, "num_steps": 4, "minibatches": 17}, "17 minibatches cannot be made of 16 steps"),
        ("a2c", {"num_envs": 1, "num_steps": 1}, "makes 0 of the advantage of a single step"),
        ("reinforce", {"num_envs": 1, "episode_steps": 1}, "makes 0 of that of a single step"),
        ("reinforce", {"normalize_obs": True}, "leave normalize_obs off"),
        ("ppo", {"num_envs": 10**12}, "does not fit into memory .*: lower num_envs, [0-9]+ fits"),
        ("ppo", {"num_steps": 10**12}, "does not fit into memory .*: lower num_steps, [0-9]+ fits"),
        ("a2c", {"num_envs": 10**18}, "does not fit into memory"),
        ("reinforce", {"episode_steps": 10**12}, "does not fit into memory .*: lower episode_steps, [0-9]+ fits"),
        (
            "dqn",
            {"num_envs": 10**9, "num_steps": 10**5, "capacity": 10**15, "learning_starts": 10**10},
            "does not fit into memory",
        ),
        ("pqn", {"hidden": (10**6, 10**6)}, r"does not fit into memory .*: lower hidden, [0-9]+ [0-9]+ fits"),
    ],
    ids=str,
)
def test_what_cannot_be_together_is_refused(learner, changes, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        LEARNERS[learner].train(LEARNERS[learner].Config(device="cpu", **changes))
    assert "\n" not in str(refused.value)


def test_no_minibatch_of_one_is_meant_where_advantages_stay_as_they_are():
    ppo.Config(num_envs=4, num_steps=4, minibatches=8).check()
    ppo.Config(num_envs=4, num_steps=4, minibatches=16, normalize_advantage=False).check()


def test_numbers_are_taken_as_they_are_meant():
    config = ppo.Config(
        total_steps=1e6, num_envs=np.int64(8), gamma=1, clip=np.float32(0.5), hidden=[32, np.int32(16)], target_kl=1,
        target_return=np.float64(3.0), run_dir=Path("runs") / "a", device=torch.device("cpu"),
    )  # fmt: skip
    config.check()
    shown = [(type(x), x) for x in (config.total_steps, config.num_envs, config.gamma, config.clip, config.target_kl)]
    assert shown == [(int, 1_000_000), (int, 8), (float, 1.0), (float, 0.5), (float, 1.0)]
    assert (config.hidden, config.run_dir, config.device) == ((32, 16), "runs/a", "cpu")
    assert type(config.target_return) is float


@pytest.mark.parametrize(
    ("text", "number"),
    [("4096", 4096), ("1e6", 10**6), ("100k", 10**5), ("2M", 2 * 10**6), ("1.5M", 1_500_000), ("1_000", 1000),
     ("1e3k", 10**6), ("-5", -5), ("3G", 3 * 10**9), ("0", 0)],
)  # fmt: skip
def test_whole_numbers_are_written_in_many_ways(text, number):
    assert whole(text) == number


@pytest.mark.parametrize(
    "text", ["", "k", "1.5", "1e-1", "inf", "nan", "1e999", "0x10", "ten", "1.2345k", "1 0", "1m", "--", "_", "."]
)
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="is no whole number"):
        whole(text)


def test_the_command_line_takes_short_whole_numbers():
    args = ["--num-envs", "1k", "--total-steps", "2e3", "--hidden", "1k", "8", "--target-kl", "0.1"]
    config = options(ppo.Config(), args, "gpusim train ppo CartPole-v1")
    assert (config.num_envs, config.total_steps, config.hidden, config.target_kl) == (1000, 2000, (1000, 8), 0.1)
    assert deciding(args, config) == {"num_envs": 1000}
    with pytest.raises(InputError, match="--total-steps: 'inf' is no whole number"):
        options(ppo.Config(), ["--total-steps", "inf"], "gpusim train ppo CartPole-v1")


# ----------------------------------------------------------------------------------------------------------- make


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"gravity": NAN}, "parameter 'gravity' is not a number"),
        ({"gravity": torch.tensor([1.0, NAN])}, "parameter 'gravity' is not a number"),
        ({"gravity": [NAN, 1.0]}, "parameter 'gravity' is not a number"),
        ({"gravity": gpusim.Uniform(NAN, 1.0)}, "'gravity' needs finite Uniform"),
        ({"gravity": gpusim.Uniform(0.0, INF)}, "'gravity' needs finite Uniform"),
        ({"gravity": gpusim.Uniform("a", 1.0)}, "'gravity' needs finite Uniform"),
        ({"gravity": gpusim.Uniform(None, 1.0)}, "'gravity' needs finite Uniform"),
        ({"gravity": "9.8"}, "'gravity' must be a number"),
        ({"gravity": None}, "'gravity' must be a number"),
        ({"gravity": 1j}, "'gravity' must be a number"),
    ],
    ids=str,
)  # fmt: skip
def test_params_that_are_no_numbers_are_refused(params, sentence):
    with pytest.raises(InputError, match=sentence):
        gpusim.make("CartPole-v1", 2, device="cpu", params=params)
    env = gpusim.make("CartPole-v1", 2, device="cpu")
    with pytest.raises(InputError, match=sentence):
        env.set_attr("gravity", params["gravity"])
    assert env.params.gravity == 9.8


def test_environments_that_cannot_fit_are_refused_before_they_are_allocated():
    for many in (10**12, 10**18):
        with pytest.raises(InputError, match=r"environments of CartPole-v1 take at least .* are free on cpu"):
            gpusim.make("CartPole-v1", many, device="cpu")
    with pytest.raises(InputError, match="num_envs must be less than 2"):
        gpusim.make("CartPole-v1", 10**5000, device="cpu")
