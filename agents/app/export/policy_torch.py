"""Plays a policy that `gpusim export --format torch` wrote. Needs torch alone: copy this file wherever the policy goes.

    python policy_torch.py policy.pt2 < observations.jsonl > actions.jsonl

A line is a batch of observations, as a list; the answer is the list of their actions.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor


def load(path: str) -> tuple[Any, dict]:
    """What runs the file, and what it says of itself; a file `.aot.pt2` holds code for the processor it was made on."""
    if path.endswith(".aot.pt2"):
        package = torch._inductor.aoti_load_package(path)
        return package, json.loads(package.get_metadata()["card"])
    card = {"card.json": ""}
    program = torch.export.load(path, extra_files=card)
    return program.module(), json.loads(card["card.json"])


class Policy:
    """From observations `[N, *obs]` to actions; what it remembers, it keeps from call to call."""

    def __init__(self, path: str, seed: int = 0):
        self.run, self.card = load(str(path))
        self.generator, self.memory = torch.Generator().manual_seed(seed), dict[str, Tensor]()

    @torch.no_grad()
    def __call__(self, obs: Any, begun: Any = None) -> Tensor:
        """Actions; `begun` `[N]` says where an episode begins: at the first call everywhere, then nowhere, if it is None."""
        inputs = {}
        for given in self.card["inputs"]:
            name, dtype = given["name"], getattr(torch, given["dtype"])
            if name == "obs":
                inputs[name] = obs = torch.as_tensor(obs, dtype=dtype)
            elif name == "noise":
                like = torch.empty(len(obs), *given["shape"][1:])
                draw = like.normal_ if given["drawn"] == "normal" else like.uniform_
                inputs[name] = draw(generator=self.generator)
            elif name == "begun":
                fresh = torch.full((len(obs),), not self.memory)
                inputs[name] = fresh if begun is None else torch.as_tensor(begun, dtype=dtype)
            else:
                inputs[name] = self.memory.get(name, torch.zeros(len(obs), *given["shape"][1:], dtype=dtype))
        outputs = self.run(inputs)
        self.memory = {name[5:]: x for name, x in outputs.items() if name.startswith("next_")}
        return outputs["action"]


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(policy(json.loads(line)).tolist()), flush=True)
