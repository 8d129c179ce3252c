"""gpusim's environment measured as every peer's is, see serve.py; of whichever gpusim PYTHONPATH names.

    python gpusim_rollout.py ENV NUM_ENVS STEPS MODE SECONDS BACKEND [DEVICE]

MODE is `sim` (statistics returned), `transitions` (every transition returned) or `step` (actions drawn beforehand).
Nothing but gpusim's public interface is used, so that older commits can be measured too. Where GPUSIM_TREE names a folder,
it has to be that one's.
"""

import os
import sys
from pathlib import Path

from serve import Request, serve


def main(request: Request, backend: str, device: str = "cpu") -> None:
    import torch

    import gpusim

    wanted = Path(os.environ.get("GPUSIM_TREE", Path(gpusim.__file__).parents[1])).resolve()
    if not Path(gpusim.__file__).resolve().is_relative_to(wanted):
        raise SystemExit(f"gpusim comes from {gpusim.__file__}, not from {wanted}.")
    env = gpusim.make(request.env, request.num_envs, device=device, backend=backend)
    env.reset(seed=0)
    actions = None
    if request.mode == "step":
        drawn = gpusim.make(request.env, request.num_envs, device=device, backend="eager")
        drawn.reset(seed=0)
        actions = drawn.rollout(request.steps).action

    def call() -> None:
        if actions is None:
            env.rollout(request.steps, transitions=request.mode == "transitions")
        else:
            for action in actions:
                env.step(action)

    def run(calls: int) -> int:
        for _ in range(calls):
            call()
        if env.device.type == "cuda":
            torch.cuda.synchronize(env.device)
        return calls * request.steps * request.num_envs

    serve(run, request.seconds, ("torch",), device=str(env.device), gpusim=gpusim.__version__)


if __name__ == "__main__":
    name, num_envs, steps, mode, seconds, *rest = sys.argv[1:]
    main(Request(name, int(num_envs), int(steps), mode, float(seconds)), *rest)
