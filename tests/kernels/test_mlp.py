"""The flat parameters' order, and which networks kernels can hold. The device functions: mlp_in_interpreter.py."""

from pathlib import Path

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from gpusim.agents.parts.networks import ActorCritic
from gpusim.kernels.mlp import MlpShape, actor_torch, critic_torch, mlp_problem
from tests import interpreter


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("gaussian", [False, True])
def test_the_flat_vector_is_the_networks_parameters_in_their_order(gaussian, activation):
    actions = Box(-1, 1, (3,)) if gaussian else Discrete(3)
    network = ActorCritic(Box(-1, 1, (5,)), actions, (20, 33), activation, False, 0.0, torch.Generator().manual_seed(0))
    for p in network.parameters():
        torch.nn.init.normal_(p, generator=torch.Generator().manual_seed(p.numel()))
    flat = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    shape = MlpShape.of(Box(-1, 1, (5,)), actions, (20, 33), activation)
    assert shape == (5, 20, 33, 3, activation, gaussian)
    assert flat.shape == (shape.size,)
    assert shape.actor == (3 if gaussian else 0)
    if gaussian:
        assert torch.equal(flat[:3], network.log_std.detach())
    obs = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(actor_torch(flat, shape, obs), network.actor(obs))
        torch.testing.assert_close(critic_torch(flat, shape, obs), network.value(obs))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden1": 15}, "15 and 64 units; kernels take 16 to 256"),
        ({"hidden2": 257}, "64 and 257 units"),
        ({"activation": "elu"}, "'elu'; kernels take tanh and relu"),
        ({"inputs": 65}, "65 numbers"),
        ({"outputs": 33}, "33 outputs"),
    ],
)
def test_problems_are_said(change, said):
    shape = MlpShape(4, 64, 64, 2, "tanh", False)
    assert mlp_problem(shape) is None
    assert said in mlp_problem(shape._replace(**change))


@pytest.mark.slow
def test_device_functions_in_the_interpreter():
    pytest.importorskip("triton", reason="Triton is not installed")
    interpreter.passes(Path(__file__).with_name("mlp_in_interpreter.py"))
