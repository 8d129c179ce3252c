"""`gpusim eval`: plays a trained policy, here or in Gymnasium's own environment, and films it."""

import dataclasses
import shlex
import sys
from typing import TYPE_CHECKING, Any

from gpusim.agents.app import arguments
from gpusim.agents.train import console, signals
from gpusim.errors import InputError

if TYPE_CHECKING:
    from gpusim.agents.train.evaluate import Loaded


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Eval:
        """Plays the policy of a run's newest checkpoint for whole episodes."""

        oracle: bool = False
        """Play in Gymnasium's own environment instead of gpusim's, or in that of the package that ours is compared with."""
        episodes: int = 100
        """How many."""
        seed: int = 1_000_000
        """Of the environments."""
        stochastic: bool = False
        """Draw actions from the policy instead of taking its mode."""
        device: str = "auto"
        """auto, cpu, cuda or cuda:N."""
        video: str | None = None
        """Film the first of the episodes: a file .mp4 or .gif."""
        video_envs: int = 1
        """How many of them, side by side."""
        video_seconds: float = 60.0
        """The film is no longer than this; it ends with the last episode."""
        video_steps: int | None = None
        """Nor than this many steps."""
        trust: bool = False
        """Run the code of somebody's own that the folder names, its environment's."""

    path, rest = arguments.run_path(args, "eval")
    asked = arguments.options(Eval(), rest, f"gpusim eval {shlex.quote(path)}")
    arguments.named(asked, "video")
    arguments.require(rest, asked, video=("video_envs", "video_seconds", "video_steps"))
    from gpusim import checks
    from gpusim.agents.train.environments import on_host
    from gpusim.agents.train.evaluate import evaluate, evaluate_oracle, load_policy

    checks.positive("episodes", asked.episodes)
    policy = load_policy(path, not asked.stochastic, asked.device, asked.trust, console.warn)
    if policy.threads:
        import torch

        torch.set_num_threads(policy.threads)
    if asked.video and (code := _film(policy, asked)):
        return code
    if asked.oracle:
        import gymnasium

        where = f"Gymnasium {gymnasium.__version__}'s {policy.env.id}"
        scores = evaluate_oracle(policy, policy.env.id, asked.episodes, checks.seed(asked.seed))
    else:
        where = policy.env.id if on_host(policy.env) else f"gpusim's {policy.env.id}"
        scores = evaluate(policy, policy.env, asked.episodes, checks.seed(asked.seed), asked.device)
    spread = float(scores.std()) if len(scores) > 1 else 0.0
    print(
        f"{where}: {float(scores.mean()):.2f} ± {spread:.2f} over {len(scores)} episodes "
        f"(least {float(scores.min()):.2f}, greatest {float(scores.max()):.2f})"
    )
    return 0


def _film(policy: "Loaded", asked: Any) -> int:
    """The exit code; after Ctrl-C there is no video."""
    from gpusim import checks
    from gpusim.agents.app.film import record

    num_envs, steps = checks.positive("video_envs", asked.video_envs), asked.video_steps
    if steps is not None:
        checks.positive("video_steps", steps)
    if not asked.video_seconds > 0:
        raise InputError(f"video_seconds must be positive, not {asked.video_seconds!r}.")
    if asked.oracle:
        raise InputError("--video films the environment that was learned: leave --oracle out.")
    terminal = sys.stdout.isatty()

    def progress(done: int, most: int) -> None:
        if terminal:
            print(f"\rfilming: frame {done:,} of at most {most:,}", end="", flush=True)

    try:
        frames, returns = record(
            policy, asked.video, num_envs, checks.seed(asked.seed), steps, asked.video_seconds, asked.device, progress
        )
    except KeyboardInterrupt as stop:
        print("\nstopped: no video was written")
        return signals.exit_code(stop)
    print("\r\033[K" if terminal else "", end="")
    print(f"{asked.video}: {frames:,} frames, returns {', '.join(f'{r:.4g}' for r in returns.tolist())}", flush=True)
    return 0
