"""`gpusim export`."""

import dataclasses
import shlex
from typing import Literal

from gpusim.agents.train import console


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes the policy of a run's newest checkpoint as others run it, and checks it on a thousand observations."""

    format: Literal["onnx", "torch", "json"] = "onnx"
    """onnx: for onnxruntime. torch: for torch.export.load, without gpusim. json: weights and operations, for anything."""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """How weights are stored; for less than float32 the policy and its export are both played, and the cost is told."""
    stochastic: bool = False
    """Draw actions from the policy, by noise that is one more input, instead of taking its mode."""
    aot: bool = False
    """With --format torch: compile for this machine's processor (AOTInductor; it takes a C++ compiler and a minute)."""
    out: str | None = None
    """File to write; None: policy.onnx, policy.pt2, policy.aot.pt2 or policy.json in the run's folder."""
    episodes: int = 100
    """How many are played of each of the two policies."""
    trust: bool = False
    """Run the code of somebody's own that the folder names, its environment's."""


def run(path: str, asked: Export) -> int:
    """The exit code."""
    from gpusim.agents.app.export.export import export

    console.say(f"exporting {shlex.quote(path)}: trace, write, and run beside the policy ...")
    done = export(path, tell=console.warn, **dataclasses.asdict(asked))
    card = done.card
    print(f"{done.path}: {card['bytes']:,} bytes, {card['acts']}; inputs {_listed(card['inputs'])}")
    found = card["checked"]
    print(
        f"answers {found['observations']:,} observations as the policy does, within {found['largest_difference']:.1e}; "
        f"card: {done.card_path}"
    )
    if scores := card.get("scores"):
        policy, exported = scores["policy"], scores["export"]
        print(
            f"over {scores['episodes']} episodes in {card['precision']}: {exported['mean']:.2f} ± {exported['std']:.2f}, "
            f"where the policy has {policy['mean']:.2f} ± {policy['std']:.2f}: it costs {scores['cost']:.2f}"
        )
    return 0


def _listed(tensors: list[dict]) -> str:
    return ", ".join(f"{x['name']} [{', '.join(map(str, x['shape']))}] {x['dtype']}" for x in tensors)
