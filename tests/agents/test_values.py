"""What critics' outputs mean, and twin critics, against arithmetic by hand and against two networks apart."""

import math

import pytest
import torch
from torch import nn

from gpusim.agents.parts.networks import Build
from gpusim.agents.parts.twin import TwinCritic
from gpusim.agents.parts.values import Atoms, Mean, Quantiles, values


def t(*numbers):
    return torch.tensor(numbers)


def logits(*probabilities):
    return torch.tensor(probabilities).clamp(min=1e-30).log()


def test_a_mean_by_hand():
    mean, out = Mean(), t([[1.0], [5.0]], [[3.0], [2.0]])
    assert mean.mean(out).tolist() == [[1.0, 5.0], [3.0, 2.0]]
    assert mean.least(out).tolist() == [[1.0], [2.0]]
    assert mean.target(t(1.0, 1.0), t(0.5, 0.0), mean.least(out)).tolist() == [[1.5], [1.0]]
    assert mean.loss(out, t([2.0], [2.0])).tolist() == [[0.5, 4.5], [0.5, 0.0]]
    assert mean.expected(t([2.0], [7.0])).tolist() == [2.0, 7.0]


def test_numbers_are_shared_between_the_atoms_beside_them():
    """Atoms −1, 0, 1: of ¼ a quarter goes to 1; −½ is shared evenly; what is beyond the ends goes to the last one."""
    atoms = Atoms(-1.0, 1.0, 3)
    number = t([0.25, -0.5, 0.0], [9.0, -9.0, 1.0])
    found = atoms.project(t([0.5, 0.4, 0.1], [0.25, 0.25, 0.5]), number)
    torch.testing.assert_close(found, t([0.2, 0.2 + 0.375 + 0.1, 0.125], [0.25, 0.0, 0.75]))
    assert found.sum(-1).tolist() == pytest.approx([1.0, 1.0])


def test_a_distribution_by_hand():
    """Atoms −2, 0, 2; a return of 1 after a termination is shared by 0 and 2; half of 2 later, added to 1, is 2."""
    atoms = Atoms(-2.0, 2.0, 3)
    out = torch.stack([logits([0.0, 0.0, 1.0], [0.5, 0.0, 0.5]), logits([0.0, 1.0, 0.0], [0.0, 0.0, 1.0])])
    torch.testing.assert_close(atoms.mean(out), t([2.0, 0.0], [0.0, 2.0]))
    assert torch.equal(atoms.least(out), torch.stack([out[1, 0], out[0, 1]]))
    target = atoms.target(t(1.0, 1.0), t(0.0, 0.5), logits([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]))
    torch.testing.assert_close(target, t([0.0, 0.5, 0.5], [0.0, 0.0, 1.0]))
    assert atoms.expected(target).tolist() == pytest.approx([1.0, 2.0])
    assert atoms.loss(torch.zeros(2, 2, 3), target).flatten().tolist() == pytest.approx([math.log(3)] * 4)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99, 1.0])
def test_a_projection_keeps_the_mean_inside_of_the_range(discount):
    atoms, generator = Atoms(-3.0, 5.0, 33), torch.Generator().manual_seed(0)
    out, returns = torch.randn(64, 33, generator=generator), torch.rand(64, generator=generator) * 0.01
    target = atoms.target(returns, torch.full((64,), discount), out)
    wanted = returns + discount * atoms.mean(out)
    torch.testing.assert_close(atoms.expected(target), wanted, atol=2e-2 if discount == 1.0 else 1e-5, rtol=0)
    torch.testing.assert_close(target.sum(-1), torch.ones(64))


def test_the_loss_of_a_distribution_has_its_minimum_at_the_target():
    atoms = values(7, -1.0, 1.0)
    out, target = torch.zeros(1, 7, requires_grad=True), torch.rand(1, 7, generator=torch.Generator().manual_seed(0))
    target = target / target.sum()
    adam = torch.optim.Adam([out], lr=0.1)
    for _ in range(300):
        adam.zero_grad()
        atoms.loss(out, target).sum().backward()
        adam.step()
    torch.testing.assert_close(out.softmax(-1), target, atol=1e-3, rtol=0)
    assert isinstance(values(1, 0.0, 1.0), Mean)


def test_quantiles_by_hand():
    """Levels ¼ and ¾ at 0 and 2, returns of 1 and 5. Of 0: errors 1 and 5, losses ½ and 4½, by ¼ each. Of 2: −1, by what is
    left of ¾, and 3, by ¾: ½ and 2½."""
    quantiles, out = Quantiles(2), t([0.0, 2.0])
    assert quantiles.levels.tolist() == [0.25, 0.75]
    assert quantiles.loss(out, t([1.0, 5.0])).item() == pytest.approx(
        (0.25 * 0.5 + 0.25 * 4.5) / 2 + (0.25 * 0.5 + 0.75 * 2.5) / 2
    )
    assert quantiles.mean(out).tolist() == [1.0]
    assert quantiles.target(t(1.0), t(0.5), out).tolist() == [[1.0, 2.0]]
    assert quantiles.expected(t([1.0, 2.0])).tolist() == [1.5]


@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_twin_critics_are_two_networks(layer_norm, outputs):
    """The same values, and the same gradients."""
    build = Build("relu", torch.Generator().manual_seed(0), layer_norm)
    twin = TwinCritic(5, (16, 8), outputs, build)
    pair = [build.mlp([5, 16, 8, outputs], 1.0) for _ in range(2)]
    for k, one in enumerate(pair):
        for layer, both in zip(one, twin.layers, strict=True):
            if isinstance(layer, nn.Linear):
                both.weight.data[k], both.bias.data[k, 0] = layer.weight.data.T, layer.bias.data
            elif isinstance(layer, nn.LayerNorm):
                for name in ("weight", "bias"):
                    getattr(layer, name).data.normal_(generator=build.generator)
                    getattr(both, name).data[k, 0] = getattr(layer, name).data
    draw = torch.Generator().manual_seed(1)
    obs, action, wanted = (torch.randn(33, n, generator=draw) for n in (3, 2, outputs))
    ours, theirs = twin(obs, action), torch.stack([one(torch.cat([obs, action], -1)) for one in pair])
    torch.testing.assert_close(ours, theirs)
    for out in (ours, theirs):
        (out - wanted).square().sum().backward()
    for k, one in enumerate(pair):
        for layer, both in zip(one, twin.layers, strict=True):
            if isinstance(layer, nn.Linear):
                torch.testing.assert_close(both.weight.grad[k], layer.weight.grad.T, atol=1e-4, rtol=1e-5)
            if hasattr(layer, "bias"):
                torch.testing.assert_close(both.bias.grad[k, 0], layer.bias.grad, atol=1e-4, rtol=1e-5)


def test_twin_critics_begin_apart():
    first, second = TwinCritic(5, (16,), 1, Build("relu", torch.Generator().manual_seed(0))).layers[0].weight
    assert not torch.equal(first, second)
    torch.testing.assert_close(first @ first.T, 2 * torch.eye(5))  # orthogonal, by √2
    torch.testing.assert_close(second @ second.T, 2 * torch.eye(5))
