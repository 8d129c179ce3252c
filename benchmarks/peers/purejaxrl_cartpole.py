"""PureJaxRL's PPO learns CartPole as published; one line of JSON tells how long.

    PUREJAXRL=CHECKOUT python purejaxrl_cartpole.py ppo SEED TARGET

CHECKOUT is a copy of its repository (luchris429/purejaxrl), which the user brings: it is no package. Its `ppo.py` is used
as it is, with the settings of its own `__main__`, of which DEBUG reports every episode as soon as its update has run; the
lines are read as they are printed, and the clock with them. The run cannot stop at the target: `time` is when the last
100 reported episodes first averaged it, `training` the same without compilation, which is ahead of time, and what is
scored are the parameters at the end of the whole run.
"""

import ast
import contextlib
import importlib.metadata
import io
import json
import os
import re
import sys
import time
import types
from pathlib import Path
from typing import Any

LEARNERS = [
    {
        "name": "PureJaxRL",
        "venv": "rejax",
        "algorithms": ("ppo",),
        "differs": "As published; it reports its episodes as it runs, runs to its end, and what is scored is its end.",
        "checkout": "PUREJAXRL",
        "repository": "luchris429/purejaxrl",
    }
]
REPORT = re.compile(r"global step=(\d+), episodic return=([\d.]+)")


class Watch(io.TextIOBase):
    """Standard output that notes when the last 100 episodes first average `target`."""

    def __init__(self, target: float):
        self.target, self.steps, self.time = target, 0, 0.0
        self.returns: list[float] = []

    def write(self, text: str) -> int:
        for step, value in REPORT.findall(text):
            if not self.time:
                self.steps = int(step)
                self.returns = [*self.returns[-99:], float(value)]
                if len(self.returns) == 100 and sum(self.returns) >= 100 * self.target:
                    self.time = time.time()
        return len(text)


def published(file: Path) -> dict[str, Any]:
    """The settings in `if __name__ == "__main__"` of that file."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id="config")], value=ast.Dict() as settings):
                return ast.literal_eval(settings)
    raise RuntimeError(f"{file} has no settings named config")


def main(seed: int, target: float) -> None:
    checkout = Path(os.environ.get("PUREJAXRL", ""))
    file = checkout / "purejaxrl" / "ppo.py"
    if not os.environ.get("PUREJAXRL") or not file.is_file():
        sys.exit("needs a checkout of luchris429/purejaxrl: set PUREJAXRL to its folder")
    sys.path.insert(0, str(checkout))
    brax = types.ModuleType("brax")
    brax.envs = types.ModuleType("brax.envs")  # type: ignore[attr-defined]  # imported by its wrappers, unused for CartPole
    sys.modules.setdefault("brax", brax)
    import jax
    from purejaxrl.ppo import ActorCritic, make_train
    from score import mean_return

    config = published(file)
    start = time.time()
    train = jax.jit(make_train(config)).lower(jax.random.PRNGKey(seed)).compile()
    begin = time.time()
    with contextlib.redirect_stdout(Watch(target)) as watch:
        state = jax.block_until_ready(train(jax.random.PRNGKey(seed)))["runner_state"][0]
        jax.effects_barrier()
    end = watch.time or time.time()
    network = ActorCritic(2, activation=config["ACTIVATION"])
    greedy = jax.jit(lambda seen: network.apply(state.params, seen)[0].mode())
    found = {"solved": bool(watch.time), "time": end, "training": end - begin, "compile": begin - start}
    found |= {"steps": watch.steps, "score": mean_return(greedy, seed + 10_000)}
    names = ("gymnax", "jax", "flax", "optax", "distrax", "gymnasium")
    print(json.dumps(found | {"versions": {name: importlib.metadata.version(name) for name in names}}))


if __name__ == "__main__":
    if sys.argv[1] != "ppo":
        sys.exit("only ppo")
    main(int(sys.argv[2]), float(sys.argv[3]))
