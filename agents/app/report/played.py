"""What a report shows of a policy at play: scores, here and in Gymnasium's own environment, a film, and a trajectory."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpusim.agents.app.report.inline import data_uri, drawn
from gpusim.agents.train import console
from gpusim.errors import InputError, NotFinite

SEED = 1_000_000  # of the environments, as of `gpusim eval`


@dataclass(frozen=True)
class Asked:
    """How much is played."""

    episodes: int = 30
    film: float = 15.0  # seconds; 0: none
    trust: bool = False
    device: str = "auto"


@dataclass
class Played:
    """Of one run; a sentence in `missing` for each thing that could not be had."""

    here: str = ""
    oracle: str = ""
    oracle_name: str = ""
    film: str = ""  # data URI
    trajectory: str = ""  # SVG
    missing: tuple[str, ...] = ()


def played(path: Path, asked: Asked, name: str, pictured: bool) -> Played:
    """Plays the newest checkpoint's policy.

    Args:
        name: of the run in the page.
        pictured: whether it is filmed, and its trajectory drawn.
    """
    from gpusim.agents.train.evaluate import load_policy

    found = Played()
    try:
        policy = load_policy(path, True, asked.device, asked.trust, console.warn)
    except (InputError, NotFinite) as error:
        return Played(missing=(f"it could not be played: {error}",))
    if asked.episodes:
        _scored(policy, asked, found)
    if pictured and asked.film:
        _filmed(policy, asked, found)
    if pictured:
        _drawn(path, asked, name, found)
    return found


def _scored(policy: Any, asked: Asked, found: Played) -> None:
    from gpusim.agents.train.environments import on_host
    from gpusim.agents.train.evaluate import evaluate, evaluate_oracle

    try:
        found.here = _score(evaluate(policy, policy.env, asked.episodes, SEED, asked.device))
        if not on_host(policy.env) and _in_gymnasium(policy.env.id):
            import gymnasium

            found.oracle = _score(evaluate_oracle(policy, policy.env.id, asked.episodes, SEED))
            found.oracle_name = f"Gymnasium {gymnasium.__version__}"
    except (InputError, NotFinite, ImportError) as error:
        found.missing += (f"it could not be scored: {error}",)


def _in_gymnasium(id: str) -> bool:
    import gymnasium

    bare = id.removeprefix("gpusim/")
    return bare in gymnasium.registry or bare.rpartition("/")[2] in gymnasium.registry


def _score(returns: Any) -> str:
    spread = float(returns.std()) if len(returns) > 1 else 0.0
    return f"{float(returns.mean()):.2f} ± {spread:.2f}"


def _filmed(policy: Any, asked: Asked, found: Played) -> None:
    from gpusim.agents.app.film import record

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        try:
            record(policy, path, 1, SEED, seconds=asked.film, device=asked.device)
            found.film = data_uri(path)
        except (InputError, ImportError, OSError) as error:
            found.missing += (f"there is no film: {error}",)


def _drawn(path: Path, asked: Asked, name: str, found: Played) -> None:
    from gpusim.agents.app import trajectory
    from gpusim.agents.train.evaluate import load_policy

    try:
        policy = load_policy(path, True, "cpu", asked.trust, console.warn)
        made = trajectory.play(policy, SEED)
        found.trajectory = drawn(lambda: trajectory.picture(made, policy.env), f"{name}-trajectory")
    except InputError as error:
        found.missing += (f"there is no trajectory: {error}",)
