"""From a run to a file: traced, written, run beside the policy, and only then kept, a card beside it."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gpusim import checks
from gpusim.agents.app.export import proof
from gpusim.agents.app.export.acting import Acting
from gpusim.agents.app.export.card import interface, origin
from gpusim.agents.app.export.formats import AOT, FORMATS, Format
from gpusim.agents.app.export.program import STORED, program, stored
from gpusim.agents.folder.files import write
from gpusim.agents.folder.strict_json import dumps
from gpusim.agents.train.evaluate import Acting as Played
from gpusim.agents.train.evaluate import Loaded, evaluate, load_policy
from gpusim.agents.train.run import RunFolder
from gpusim.errors import InputError
from gpusim.precision import float32

SEED = 1_000_000  # of environments, as `gpusim eval` has it


class Exported(NamedTuple):
    """What was written."""

    path: Path
    card_path: Path
    card: dict[str, Any]


@float32
def export(
    run: str | Path,
    format: str = "onnx",
    out: str | Path | None = None,
    *,
    precision: str = "float32",
    stochastic: bool = False,
    aot: bool = False,
    episodes: int = 100,
    trust: bool = False,
    tell: Callable[[str], Any] = print,
) -> Exported:
    """Writes the policy of a run's newest checkpoint as others run it, and a card beside it.

    Its normalization of observations, its scaling of actions and the state of a memory are in it. It is kept only if it
    answers a thousand observations as the policy does, see `gpusim.agents.app.export.proof.NEAR`.

    Args:
        format: onnx, torch or json.
        out: the file; None: `policy` in the run's folder, with the format's suffix.
        precision: how weights are stored: float32, bfloat16 or int8. Products are made in float32. Where it is not float32,
            both policies are played, and the card says what it costs.
        stochastic: draw actions, by noise that is an input, instead of taking the mode.
        aot: with torch, compile for this machine's processor (AOTInductor, which takes a C++ compiler).
        episodes: of each of the two that are played.
        trust: as `load_policy` has it.
        tell: is given a line about what is done.

    Raises:
        InputError: the run or an argument cannot be used, a library is missing, or the export answers otherwise than the
            policy; nothing is left behind.
    """
    kind = kind_of(format, aot)
    if precision not in STORED:
        raise InputError(f"precision must be {', '.join(STORED)}, not {precision!r}.")
    checks.positive("episodes", episodes)
    folder, path = RunFolder.open(run), place(run, out, kind)
    policy = load_policy(run, not stochastic, "cpu", trust, tell, precision="tf32x3")
    if policy.threads:
        torch.set_num_threads(policy.threads)
    exact, acting = Acting(policy, stochastic), stored(Acting(policy, stochastic), precision)
    card = interface(policy, acting, precision)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as desk:
        draft = Path(desk) / f"policy{kind.suffix}"
        graph = program(acting)
        kind.write(graph, draft, card)
        played = kind.load(draft)
        known = proof.asked(policy, exact, SEED)
        reference = known if precision == "float32" else proof.replied(acting, known)
        rounded = proof.rounding(graph, card, reference, acting)
        worst = proof.compare(played, reference, acting, rounded)
        found = {"observations": proof.OBSERVATIONS, "largest_difference": worst, "allowed": proof.allowed(rounded)}
        scores = (
            {} if precision == "float32" else {"scores": both(policy, proof.Replayed(played, acting, SEED), episodes)}
        )
        content = draft.read_bytes()
        facts = {
            "file": path.name,
            "format": format,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        card = facts | card | {"checked": found} | scores | origin(folder)
        os.replace(draft, path)
    beside = path.with_name(path.name + ".card.json")
    write(beside, dumps(card, indent=2) + "\n")
    return Exported(path, beside, card)


def kind_of(format: str, aot: bool) -> Format:
    """Raises InputError where there is no such format."""
    if format not in FORMATS:
        raise InputError(f"format must be {', '.join(FORMATS)}, not {format!r}.")
    if aot and format != "torch":
        raise InputError(
            f"aot compiles what torch runs, and the format is {format}: say --format torch, or leave it off."
        )
    return AOT if aot else FORMATS[format]


def place(run: str | Path, out: str | Path | None, kind: Format) -> Path:
    """Where the file goes.

    Raises:
        InputError: there is no such folder, or the name says another format.
    """
    path = Path(run) / f"policy{kind.suffix}" if out is None else Path(out)
    if not path.name.endswith(kind.suffix):
        raise InputError(f"{path} must end in {kind.suffix}, as its format has it.")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into.")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent} cannot be written.")
    return path


def both(policy: Loaded, exported: Played, episodes: int) -> dict[str, Any]:
    """The returns of the policy and of its export, in the same episodes."""
    players: dict[str, Played] = {"policy": policy, "export": exported}
    returns = {name: evaluate(player, policy.env, episodes, SEED, "cpu") for name, player in players.items()}
    found: dict[str, Any] = {name: {"mean": float(r.mean()), "std": float(r.std())} for name, r in returns.items()}
    return {"episodes": episodes, "seed": SEED} | found | {"cost": found["policy"]["mean"] - found["export"]["mean"]}
