"""A run on several ranks is the run of one: the same first rollout, bit for bit, and after it the same to rounding."""

import pytest
import torch

from tests.agents.ranks import (
    interrupted,
    iterated,
    kept_by,
    refused,
    sampled,
    spoiled,
    together,
    trained,
    windows,
    written,
)

SHORT = {"num_steps": 8, "shards": 4, "minibatches": 4, "epochs": 2, "total_steps": 4 * 128}
NORMALIZED = {"normalize_obs": True, "normalize_reward": True}
CART, SWING = "CartPole-v1", "Pendulum-v1"
ROLLOUT = {"num_steps": 8, "total_steps": 4 * 128}
ON_POLICY = {
    "ppo, eager": ("ppo", CART, SHORT | {"backend": "eager"}),
    "ppo, native": ("ppo", CART, SHORT | {"backend": "native", "num_envs": 32, "total_steps": 4 * 256}),
    "ppo, continuous": ("ppo", SWING, SHORT | NORMALIZED | {"clip_value": True}),
    "ppo, target_kl": ("ppo", CART, SHORT | {"target_kl": 1e-3, "epochs": 6, "learning_rate": 1e-2}),
    "ppo, in parts": ("ppo", CART, SHORT | {"accumulate": 2}),
    "ppo, gru": ("ppo", CART, SHORT | {"network": "gru", "memory_units": 8}),
    "ppo, images": ("ppo", "MinAtar/Breakout-v1", SHORT | {"hidden": (16,)}),
    "a2c": ("a2c", CART, ROLLOUT | NORMALIZED),
    "reinforce": ("reinforce", CART, {"episode_steps": 40, "total_steps": 4 * 640}),
    "pqn": ("pqn", CART, SHORT | {"repeat": 0.5, "epsilon_start": 0.5}),
}
QUICK = {"ppo, continuous"}
REPLAY = {
    "num_steps": 4,
    "n_step": 1,
    "capacity": 800,
    "batch_size": 32,
    "learning_starts": 128,
    "replay_ratio": 0.1,
    "total_steps": 512,
}
OFF_POLICY = {
    "dqn": ("dqn", CART, REPLAY),
    "dqn, prioritized": ("dqn", CART, REPLAY | NORMALIZED | {"prioritized": True, "n_step": 2, "repeat": 0.5}),
    "sac": ("sac", SWING, REPLAY | {"repeat": 0.5}),
    "td3": ("td3", SWING, REPLAY | NORMALIZED | {"policy_every": 2}),
}


def marked(cases, quick=()):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in cases]


def assert_same_beginning(name, size, cases=ON_POLICY, fault=None, iterations=1):
    (alone,), ranks = (
        together(1, iterated, *cases[name], iterations),
        together(size, iterated, *cases[name], iterations, None, fault),
    )
    for field, whole in alone["rollout"].items():
        assert torch.equal(torch.cat([rank["rollout"][field] for rank in ranks], 1), whole), field
    for rank in ranks:
        assert torch.equal(rank["weights"], ranks[0]["weights"])
        assert torch.equal(rank["drawn"], alone["drawn"])
        assert rank["reading"]["steps"] == alone["reading"]["steps"]
    return alone, ranks


def assert_same(name, size, fault=None):
    alone, ranks = assert_same_beginning(name, size, fault=fault)
    assert (ranks[0]["weights"] - alone["weights"]).abs().max() < 1e-5
    if alone["statistics"] is not None:
        assert torch.allclose(ranks[0]["statistics"], alone["statistics"], rtol=1e-9, atol=0)
    for metric, value in alone["reading"].items():
        if metric not in ("time", "seconds"):
            assert ranks[-1]["reading"][metric] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), metric
    return alone, ranks


@pytest.mark.parametrize("name", marked(ON_POLICY, QUICK))
def test_two_ranks_are_one(name):
    assert_same(name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo, eager", "ppo, continuous", "a2c"])
def test_four_ranks_are_one(name):
    assert_same(name, 4)


# ------------------------------------------------------------------------------------------------------ off policy


@pytest.mark.parametrize("name", marked(OFF_POLICY))
def test_replays_of_two_ranks_hold_what_that_of_one_holds(name):
    """Before the first update all is the same; after some, ranks still have the same weights as each other."""
    alone, ranks = assert_same_beginning(name, 2, OFF_POLICY)
    assert torch.equal(ranks[0]["weights"], alone["weights"])
    for field, held in alone["state"]["replay"].items():
        assert torch.equal(ranks[0]["state"]["replay"][field], held), field
    later = together(2, iterated, *OFF_POLICY[name], 4)
    assert torch.equal(later[0]["weights"], later[1]["weights"])
    assert not torch.equal(later[0]["weights"], alone["weights"])
    assert repr(later[0]["reading"] | {"time": 0}) == repr(later[1]["reading"] | {"time": 0})  # NaN is itself


@pytest.mark.slow
def test_ranks_draw_different_samples():
    a, b = together(2, sampled, *OFF_POLICY["sac"])
    assert not torch.equal(a, b)


# ----------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo, continuous", "ppo, gru", "pqn"])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4)])
def test_another_number_of_ranks_goes_on(name, before, after):
    unbroken = iterated(*ON_POLICY[name], 3)
    state = together(before, iterated, *ON_POLICY[name], 2)[0]["state"]
    ranks = together(after, iterated, *ON_POLICY[name], 1, state)
    assert (ranks[0]["weights"] - unbroken["weights"]).abs().max() < 1e-4
    for metric in ("return", "episodes", "length", "value", "steps"):
        if metric in unbroken["reading"]:
            assert ranks[0]["reading"][metric] == pytest.approx(unbroken["reading"][metric], rel=1e-2, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn, prioritized", "sac"])
def test_a_replay_goes_to_another_number_of_ranks(name):
    state = together(2, iterated, *OFF_POLICY[name], 4)[0]["state"]
    kept = together(4, kept_by, *OFF_POLICY[name], state)[0]
    for field, held in state["replay"].items():
        assert torch.equal(kept["replay"][field], held), field
    assert torch.equal(kept["window"]["returns"], state["window"]["returns"])
    assert kept["window"]["count"] == state["window"]["count"]


@pytest.mark.slow
def test_the_last_episodes_are_those_of_one_rank():
    """More of them end than are remembered."""
    changes = {"num_steps": 100, "shards": 4, "minibatches": 4, "total_steps": 12_800}
    alone, ranks = windows(changes), together(2, windows, changes)
    assert alone["counts"][-1] > 200
    assert ranks[0] == ranks[1] == alone


# --------------------------------------------------------------------------------------------------------- the loop


@pytest.mark.slow
def test_a_target_ends_all_ranks_at_the_iteration_that_ends_one():
    changes = {"num_envs": 32, "num_steps": 64, "shards": 4, "target_return": 60.0, "total_steps": 200_000}
    changes |= {"log_every": 2, "learning_rate": 3e-3}
    alone, *ranks = trained("ppo", CART, changes), *together(2, trained, "ppo", CART, changes)
    assert [(ending, iteration) for _, ending, iteration, _ in ranks] == [(alone[1], alone[2])] * 2
    assert alone[1] == "target"
    assert ranks[0][0] == ranks[1][0]


@pytest.mark.slow
def test_an_interrupt_of_one_rank_ends_all_after_the_same_iteration():
    found = together(2, interrupted, SHORT | {"total_steps": 10**7})
    assert [(ending, iteration) for ending, iteration, _ in found] == [("interrupted", found[0][1])] * 2
    assert {signal for *_, signal in found} == {15}


@pytest.mark.slow
def test_from_python_the_first_rank_writes(tmp_path):
    assert together(2, written, tmp_path / "run") == [("complete", 4, 2048)] * 2
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 8
    assert (tmp_path / "run" / "result.json").exists()


# ---------------------------------------------------------------------------------------------------------- faults

FAULTS = {
    "a rank's seed": "ppo, eager",
    "the first rank's numbers": "ppo, eager",
    "gradient of a rank alone": "ppo, eager",
    "moments of a rank alone": "ppo, eager",
    "statistics of a rank alone": "ppo, continuous",
    "divergence of a rank alone": "ppo, target_kl",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault):
    with pytest.raises((AssertionError, RuntimeError)):
        assert_same(FAULTS[fault], 2, fault)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "algorithm", "changes", "sentence"),
    [
        (3, "ppo", {"num_envs": 16}, "num_envs must be a multiple of 3"),
        (3, "ppo", {"num_envs": 48}, "shards must be a multiple of 3, the number of ranks"),
        (2, "ppo", {"num_envs": 12}, "num_envs must be a multiple of 8, the number of shards"),
        (2, "ppo", {"num_envs": 8, "num_steps": 4, "minibatches": 8}, "8 minibatches cannot be made of the 4 steps of"),
        (2, "ppo", {"network": "gru", "minibatches": 8}, "8 minibatches cannot be made of 8 shards of 2 environments"),
        (2, "dqn", {"batch_size": 33}, "batch_size must be a multiple of 2"),
    ],
)
def test_what_cannot_be_shared_is_refused(size, algorithm, changes, sentence):
    with pytest.raises(RuntimeError, match=f"InputError: {sentence}"):
        together(size, refused, algorithm, changes)


@pytest.mark.slow
def test_a_place_is_told_in_the_numbers_of_all_environments():
    with pytest.raises(RuntimeError, match="the reward of environment 13 is not finite"):
        together(2, spoiled, 13)
