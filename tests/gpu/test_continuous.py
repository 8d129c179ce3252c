"""SAC's and TD3's iterations as CUDA graphs."""

import pytest
import torch

from gpusim.agents import sac, td3

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")]

SETTINGS = {
    "env": "Pendulum-v1", "num_envs": 256, "num_steps": 8, "total_steps": 2048 * 40, "learning_starts": 6144,
    "batch_size": 64, "capacity": 10_000, "hidden": (32, 32), "replay_ratio": 1 / 800, "device": "cuda",
}  # fmt: skip
KINDS = {
    "plain": {},
    "all": {"n_step": 3, "prioritized": True, "normalize_obs": True, "layer_norm": True, "repeat": 0.5, "atoms": 51},
    "bf16": {"precision": "bf16"},
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
each_learner = pytest.mark.parametrize("module", [sac, td3], ids=["sac", "td3"])


@each_kind
@each_learner
def test_an_iteration_is_captured_and_waits_for_nothing(module, changes, request):
    """A warning that a capture failed is an error here; there are 0, 2 or 3 updates in an iteration."""
    learner = module.LEARNER(module.Config(**SETTINGS | changes))
    while len(learner.graphed.captured) < 3 or any(c.calls < 2 for c in learner.graphed.captured.values()):
        learner.iterate()
        assert learner.iteration < 60
    for _ in range(8):
        learner.iterate()
    graphs = [c.graph for c in learner.graphed.captured.values() if c.calls > 1]
    assert all(graph is not None for graph in graphs)
    request.getfixturevalue("no_sync")
    for _ in range(4):
        metrics = learner.iterate()
    torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in metrics.values())


@each_kind
@each_learner
def test_graphs_do_what_single_launches_do(module, changes):
    """The same numbers are drawn; by priority, which rounding may change, not always the same transitions."""
    captured, plain = (module.LEARNER(module.Config(**SETTINGS | changes)) for _ in "ab")
    plain.graphed.wanted = False
    for _ in range(6):
        for learner in (captured, plain):
            learner.iterate()
    assert captured.optimizer.steps == plain.optimizer.steps > 0
    apart = 5e-3 if captured.config.prioritized else 2e-3
    for one, other in zip(captured.weights(), plain.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=apart)
    assert torch.equal(captured.replay.count, plain.replay.count)
