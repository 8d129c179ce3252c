"""gpusim learns Pendulum with its preset; one line of JSON tells how long.

    python gpusim_pendulum.py {sac,td3} SEED TARGET

Run by `time_to_solve.py`, beside the peers, which are asked in the same way.
"""

import importlib.metadata
import sys

import torch
from until import ENV, Until

from gpusim.agents.train.run import make_learner, preset


def learn(algorithm: str, seed: str, target: str) -> None:
    learner = make_learner(algorithm, preset(algorithm, ENV, seed=int(seed), device="cpu"))
    until = Until(lambda seen: learner.network.act(torch.from_numpy(seen), None).numpy(), int(seed), float(target))
    while learner.iteration < learner.config.iterations and not until.reached(learner.steps):
        learner.iterate()
    until.tell(learner.steps, {"torch": importlib.metadata.version("torch")})


if __name__ == "__main__":
    learn(*sys.argv[1:])
