"""`precision`: learners learn in 16 bits too, with weights, statistics and the optimizer's state in float32."""

import pytest
import torch

from gpusim.agents import a2c, ppo, pqn, reinforce
from gpusim.agents.train.discovery import learner_class
from tests.agents import probes

SIZES = {
    ppo: {"num_steps": 10, "minibatches": 2},
    a2c: {"num_steps": 5, "learning_rate": 2e-2},
    pqn: {"num_steps": 10, "minibatches": 2, "activation": "tanh"},
    reinforce: {"episode_steps": 6},
}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    ("algorithm", "network"),
    [(ppo, "auto"), (ppo, "gru"), (a2c, "auto"), (a2c, "mingru"), (pqn, "auto"), (pqn, "lstm"), (reinforce, "auto")],
    ids=str,
)
def test_learned_in_16_bits(algorithm, network, precision):
    config = algorithm.Config(
        env=probes.MATCHED.id, device="cpu", seed=1, num_envs=32, total_steps=12_000, hidden=(16,), gamma=0.5,
        network=network, precision=precision, **{"learning_rate": 1e-2} | SIZES[algorithm],
    )  # fmt: skip
    learner = learner_class(algorithm.__name__.rpartition(".")[2])(config)
    while learner.iteration < config.iterations:
        metrics = learner.iterate()
    assert learner.window.mean()[0] > 0.8
    assert ("loss_scale" in metrics) == (precision == "fp16")
    if precision == "fp16":
        assert metrics["overflows"] == 0
    held = [x for module in learner.modules().values() for x in module.state_dict().values()]
    assert {x.dtype for x in held if x.is_floating_point()} <= {torch.float32, torch.float64}
    seen = list[torch.dtype]()
    first = next(m for m in learner.network.modules() if isinstance(m, torch.nn.Linear))
    first.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    learner.iterate()
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
