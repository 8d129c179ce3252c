"""`accumulate`: the gradient of a minibatch made in parts is that of the whole."""

import dataclasses

import pytest
import torch

from gpusim import InputError
from gpusim.agents import a2c, ppo, pqn
from gpusim.agents.train.discovery import learner_class

CASES = {
    "ppo": (ppo, {"minibatches": 2, "entropy_coef": 0.01, "clip_value": True}),
    "ppo gru": (ppo, {"minibatches": 2, "network": "gru", "hidden": (8,)}),
    "ppo raw advantages": (ppo, {"minibatches": 2, "normalize_advantage": False}),
    "a2c": (a2c, {}),
    "a2c lstm": (a2c, {"network": "lstm", "hidden": (8,)}),
    "pqn": (pqn, {"minibatches": 2}),
    "pqn mingru": (pqn, {"minibatches": 2, "network": "mingru", "hidden": (8,)}),
}


def learner(algorithm, accumulate, **changes):
    """Parts of unequal sizes, 128 or 8 by 3; on environments whose episodes end."""
    config = algorithm.Config(
        env="CartPole-v1", device="cpu", backend="eager", num_envs=16, num_steps=16, accumulate=accumulate, **changes
    )
    return learner_class(algorithm.__name__.rpartition(".")[2])(config)


def gradients(made):
    """Of every update of an iteration, as they are when Adam is about to step, and the metrics."""
    found, descend = [], made.optimizer._descend

    def noted(rate):
        found.append(made.optimizer.grad.clone())
        return descend(0.0)  # the weights stay, so that rounding does not add up

    made.optimizer._descend = noted
    return found, made.iterate()


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_in_parts_is_that_of_the_whole(case):
    algorithm, changes = CASES[case]
    (whole, metrics), (parts, other) = (gradients(learner(algorithm, k, **changes)) for k in (1, 3))
    assert len(whole) == len(parts) > 0
    for a, b in zip(whole, parts, strict=True):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(b, a, atol=2e-6, rtol=1e-4)
    for name, value in metrics.items():
        torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4)


def test_parts_really_are_smaller(monkeypatch):
    made, sizes = learner(ppo, 3, minibatches=2), []
    forward = made.network.forward
    monkeypatch.setattr(made.network, "forward", lambda obs: sizes.append(obs.shape[:-1].numel()) or forward(obs))
    made.iterate()
    assert max(sizes) == 3 * 16  # environments of 16 come in 6 parts, too
    assert sum(sizes) == 16 * 16 * (1 + made.config.epochs)  # once to be told, then every pass


def test_loss_scales_and_parts_go_together():
    (whole, _), (parts, metrics) = (gradients(learner(ppo, k, minibatches=2, precision="fp16")) for k in (1, 4))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(b / 2**16, a / 2**16, atol=2e-3, rtol=2e-2)
    assert metrics["loss_scale"] == 2**16


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"accumulate": 129}, "accumulate must be at most 128, as a minibatch has so many steps, not 129."),
        (
            {"accumulate": 9, "network": "gru"},
            "accumulate must be at most 8, as a minibatch has so many environments, whose steps stay together, not 9.",
        ),
        ({"accumulate": 0}, "accumulate must be at least 1, not 0."),
    ],
)
def test_more_parts_than_there_is_are_refused(changes, sentence):
    config = ppo.Config(env="CartPole-v1", num_envs=16, num_steps=16, minibatches=2)
    with pytest.raises(InputError) as error:
        dataclasses.replace(config, **changes).check()
    assert str(error.value) == sentence
