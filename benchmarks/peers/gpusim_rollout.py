"""gpusim's environment measured as every peer's is, see serve.py; of whichever gpusim PYTHONPATH names.

    python gpusim_rollout.py ENV NUM_ENVS STEPS MODE SECONDS BACKEND [DEVICE]

MODE is `sim` (statistics returned), `transitions` (every transition returned), `step` (actions drawn beforehand) or `train`
(iterations of PPO, which collect STEPS steps of every environment and learn from them; its settings are `TRAIN`, whatever a
commit's presets say). Nothing but gpusim's public interface is used, so that older commits can be measured too. Where
GPUSIM_TREE names a folder, it has to be that one's.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve import Request, serve

TRAIN: dict[str, Any] = {
    "epochs": 4, "minibatches": 4, "hidden": (64, 64), "activation": "tanh", "normalize_obs": True, "normalize_reward": True,
    "total_steps": 10**12,
}  # fmt: skip


def main(request: Request, backend: str, device: str = "cpu") -> None:
    import torch

    import gpusim

    wanted = Path(os.environ.get("GPUSIM_TREE", Path(gpusim.__file__).parents[1])).resolve()
    if not Path(gpusim.__file__).resolve().is_relative_to(wanted):
        raise SystemExit(f"gpusim comes from {gpusim.__file__}, not from {wanted}.")
    env, call = (training if request.mode == "train" else stepping)(request, backend, device)

    def run(calls: int) -> int:
        for _ in range(calls):
            call()
        if env.device.type == "cuda":
            torch.cuda.synchronize(env.device)
        return calls * request.steps * request.num_envs

    serve(run, request.seconds, ("torch",), device=str(env.device), gpusim=gpusim.__version__)


def stepping(request: Request, backend: str, device: str) -> tuple[Any, Callable[[], Any]]:
    """Environments, and STEPS steps of them."""
    import gpusim

    env = gpusim.make(request.env, request.num_envs, device=device, backend=backend)
    env.reset(seed=0)
    if request.mode != "step":
        return env, lambda: env.rollout(request.steps, transitions=request.mode == "transitions")
    drawn = gpusim.make(request.env, request.num_envs, device=device, backend="eager")
    drawn.reset(seed=0)
    actions = drawn.rollout(request.steps).action

    def call() -> None:
        for action in actions:
            env.step(action)

    return env, call


def training(request: Request, backend: str, device: str) -> tuple[Any, Callable[[], Any]]:
    """A learner's environments, and one iteration."""
    from gpusim.agents import ppo

    place = {"env": request.env, "num_envs": request.num_envs, "device": device, "backend": backend}
    learner = ppo.PPO(ppo.Config(**place, num_steps=request.steps, **TRAIN))
    return learner.env, learner.iterate


if __name__ == "__main__":
    name, num_envs, steps, mode, seconds, *rest = sys.argv[1:]
    main(Request(name, int(num_envs), int(steps), mode, float(seconds)), *rest)
