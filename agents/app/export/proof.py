"""An export beside its policy: on observations of the policy's own play, and by the returns of both."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from gpusim.agents.app.export import policy_numpy
from gpusim.agents.app.export.acting import Acting, distribution_of, drawn, preferred
from gpusim.agents.app.export.formats import Card, Run, listed
from gpusim.agents.parts.networks import QNetwork
from gpusim.agents.train.environments import make
from gpusim.agents.train.evaluate import Loaded, RememberingPolicy
from gpusim.errors import InputError
from gpusim.tree import tensors

NEAR = 1e-6  # of the largest number that is compared, or of 1 where that is less
ROUNDINGS = 2.0  # so many times what float32 itself rounds may be between them, where that is more ...
MOST = 1e-4  # ... but no more than this
OBSERVATIONS = 1_000
ENVS = 8
BATCHES = (1, 7, OBSERVATIONS - 8)  # any number of environments at once is to be right

Arrays = dict[str, np.ndarray]


class Asked(NamedTuple):
    """What a policy was shown, and what it answered, by the names of `Acting.inputs` and `Acting.outputs`."""

    inputs: Arrays  # [M, ...]
    outputs: Arrays  # [M, ...]


# -------------------------------------------------------------------------------------------------- a thousand times


@torch.no_grad()
def asked(policy: Loaded, acting: Acting, seed: int, count: int = OBSERVATIONS) -> Asked:
    """What the policy itself makes of so many observations, from its own play where it was trained."""
    env, generator = make(policy.env, ENVS, "cpu"), torch.Generator().manual_seed(seed)  # type: ignore[arg-type]
    rows = []
    try:
        obs, _ = env.reset(seed=seed)
        begun = torch.ones(ENVS, dtype=torch.bool)
        state = policy.initial_state(ENVS, begun.device) if isinstance(policy, RememberingPolicy) else ()
        for _ in range(-(-count // ENVS)):
            shown = {"obs": policy.seen(obs)} | noise(acting, ENVS, generator) | named("state", state)
            given = shown | ({"begun": begun} if state else {})
            answer, state = answered(policy, given, state, acting.samples)
            rows.append(({x.name: given[x.name] for x in acting.inputs}, answer))
            obs, _, terminated, truncated, _ = env.step(answer["action"])
            begun = terminated | truncated
    finally:
        env.close()
    inputs, outputs = (
        {name: torch.cat([row[i][name] for row in rows])[:count].numpy() for name in rows[0][i]} for i in (0, 1)
    )
    return Asked(inputs, outputs)


def answered(policy: Loaded, given: dict[str, Tensor], state: Any, samples: bool) -> tuple[dict[str, Tensor], Any]:
    """The policy's outputs, and its state afterwards."""
    network: Any = policy.network
    obs, begun = given["obs"], given.get("begun")
    distribution, after = distribution_of(network, obs, state, begun)
    if samples:
        action = network.env_action(drawn(distribution, given["noise"]))
    else:
        action = policy.act(obs, state, begun)[0] if isinstance(policy, RememberingPolicy) else policy(obs)
    scores = {"scores": distribution[0]} if network.discrete else {}
    return {"action": action} | scores | named("next_state", after), after


def named(name: str, state: Any) -> dict[str, Tensor]:
    """Of a memory the actor's copy, which comes first."""
    return {f"{name}{i}": x[:, :1] for i, x in enumerate(tensors(state))}


def noise(acting: Acting, num_envs: int, generator: torch.Generator) -> dict[str, Tensor]:
    """What is drawn for every call, by its name."""
    empty = {x.name: (torch.empty(num_envs, *x.shape), x.drawn) for x in acting.inputs if x.drawn}
    draw = {"normal": Tensor.normal_, "uniform": Tensor.uniform_}
    return {name: draw[kind](x, generator=generator) for name, (x, kind) in empty.items()}


@torch.no_grad()
def replied(acting: nn.Module, known: Asked) -> Asked:
    """The same observations, answered by another module."""
    found = acting({name: torch.from_numpy(x) for name, x in known.inputs.items()})
    return Asked(known.inputs, {name: x.numpy() for name, x in found.items()})


def rounding(program: ExportedProgram, card: Card, known: Asked, acting: Acting) -> float:
    """The largest difference, counted as in `compare`, that float32 makes: between the graph in it and in float64."""
    run = policy_numpy.Graph(listed(program, card), np.float64)
    single = replied(program.module(), known)
    double = {name: x.astype(single.outputs[name].dtype) for name, x in run(known.inputs).items()}
    return _differ(double, single.outputs, known.inputs, acting)


def compare(run: Run, known: Asked, acting: Acting, rounded: float = 0.0) -> float:
    """The largest difference between what `run` answers and what is known, as a share of the largest number, or of 1.

    Actions may differ only where two are preferred alike.

    Args:
        rounded: what `rounding` found.

    Raises:
        InputError: it is more than is allowed, see `allowed`.
    """
    worst, start = 0.0, 0
    for size in BATCHES:
        rows = slice(start, start + size)
        inputs, wanted = ({name: x[rows] for name, x in part.items()} for part in known)
        worst, start = max(worst, _differ(run(inputs), wanted, inputs, acting)), start + size
    most = allowed(rounded)
    if not worst <= most:
        raise InputError(
            f"the export answers otherwise than the policy, by {worst:.1e} where {most:.1e} is allowed: nothing was written."
        )
    return worst


def allowed(rounded: float) -> float:
    """The difference that may be, where float32 rounds so much."""
    return max(NEAR, min(ROUNDINGS * rounded, MOST))


def _differ(found: Arrays, wanted: Arrays, inputs: Arrays, acting: Acting) -> float:
    worst = 0.0
    for name, want in wanted.items():
        got = found[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            return float("inf")
        if name == "action" and acting.network.discrete:
            got, want = (np.take_along_axis(_preference(wanted, inputs, acting), x[:, None], 1) for x in (got, want))
        apart = np.abs(got.astype(np.float64) - want) / max(1.0, float(np.abs(want).max()))
        worst = max(worst, float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max()))
    return worst


def _preference(wanted: Arrays, inputs: Arrays, acting: Acting) -> np.ndarray:
    """`[M, A]`, of which the action is the greatest."""
    scores = wanted["scores"]
    if not acting.samples:
        return scores
    if isinstance(acting.network, QNetwork):  # whether it is random or not, there is one action
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return preferred(torch.from_numpy(scores), torch.from_numpy(inputs["noise"])).clamp(-1e6, 1e6).numpy()


# ----------------------------------------------------------------------------------------------------------- returns


class Replayed:
    """An export as whoever evaluates plays it, see `gpusim.policy.StatefulPolicy`."""

    def __init__(self, run: Run, acting: Acting, seed: int):
        self.run, self.acting, self.generator = run, acting, torch.Generator().manual_seed(seed)

    def initial_state(self, num_envs: int, device: torch.device) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(num_envs, *x.shape) for x in self.acting.state)

    def act(self, obs: Any, state: Any, begun: Any) -> tuple[Any, dict[str, Tensor], Any]:
        dtype = self.acting.inputs[0].dtype
        given = noise(self.acting, len(obs), self.generator) | {f"state{i}": x for i, x in enumerate(state)}
        if state:
            given["begun"] = torch.as_tensor(begun)
        found = self.run({"obs": np.asarray(obs, dtype)} | {name: x.numpy() for name, x in given.items()})
        after = tuple(torch.from_numpy(found[f"next_{x.name}"]) for x in self.acting.state)
        return torch.from_numpy(found["action"]), {}, after
