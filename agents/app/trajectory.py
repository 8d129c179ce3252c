"""What an agent does: the state of one episode, and its actions, against time."""

import inspect
import re
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Discrete

import gpusim
from gpusim.agents.folder.drawing import panels
from gpusim.agents.train.environments import Task, describe
from gpusim.agents.train.evaluate import InPlay, Loaded
from gpusim.errors import InputError
from gpusim.host import HostEnv


class Trajectory(NamedTuple):
    """One episode."""

    state: Any  # the environment's State, every field `[T + 1]` or `[T + 1, K]`
    action: np.ndarray  # [T] or [T, d]
    reward: np.ndarray  # [T]
    dt: float | None  # seconds of a step, where the environment has a parameter of that name


@torch.no_grad()
def play(policy: Loaded, seed: int, most: int = 1000) -> Trajectory:
    """The policy's episode from the state that the seed begins, at most so many steps of it.

    Raises:
        InputError: the environment steps on the host, where its state stays.
    """
    task = describe(policy.env)
    if isinstance(task, HostEnv):
        raise InputError(f"{task.id} steps on the host, where its state stays: a trajectory needs one of gpusim's own.")
    if isinstance(task, gpusim.PhysicsEnv):
        raise InputError(f"{task.id} is stepped by MuJoCo, whose arrays are no trajectory to draw: film it by --video.")
    env = gpusim.make(task, device=str(policy.device), autoreset_mode="disabled")
    (obs, _), act = env.reset(seed=seed), InPlay(policy)
    states, actions, rewards = [env.get_state().state], [], []
    for _ in range(most):
        action = act(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        states.append(env.get_state().state)
        actions.append(action[0].cpu())
        rewards.append(reward[0].cpu())
        if terminated | truncated:
            break
    state = type(states[0])(*(torch.stack([x[0].cpu() for x in field]).numpy() for field in zip(*states, strict=True)))
    dt = getattr(env.params, "dt", None)
    return Trajectory(state, torch.stack(actions).numpy(), torch.stack(rewards).numpy(), dt)


def described(state: type) -> dict[str, tuple[str, str]]:
    """What the source of a State says of its fields, by name: in words, and the unit; both may be empty.

    theta: Lane  # pole angle from upright [rad]
    """
    try:
        source = inspect.getsource(state)
    except (OSError, TypeError):
        return {}
    found = {}
    for name, comment in re.findall(r"^    (\w+): \w+ *# *(.*)$", source, re.MULTILINE):
        brackets = [text for text in re.findall(r"\[([^\]]*)\]", comment) if not re.match(r"N, ", text)]
        words = re.sub(r"\[[^\]]*\]", "", comment).strip(" ,;.")
        found[name] = (words, brackets[-1] if brackets else "")
    return found


def picture(made: Trajectory, env: Task) -> Any:
    """A panel for each field of the state, with its unit where the source has one, and one for the action."""
    fields, about = made.state._asdict(), described(type(made.state))
    across = 1 if len(fields) < 7 else 3
    figure = panels(len(fields) + 1, across, (9.6 / min(across, 2), 1.7))
    step = made.dt or 1
    time = np.arange(len(made.reward) + 1) * step
    for axes, (name, values) in zip(figure.axes, fields.items(), strict=False):
        words, unit = about.get(name, ("", ""))
        _lines(axes, time, values, whole=values.dtype.kind in "iub")
        axes.set_ylabel(f"{name}\n[{unit}]" if unit else name)
        axes.set_title(words, fontsize="small", loc="left", color="dimgrey")
    axes = figure.axes[len(fields)]
    _lines(axes, time, np.concatenate([made.action, made.action[-1:]]), whole=True)
    if isinstance(env.action_space, Discrete):
        axes.set_yticks(range(int(env.action_space.n)))
    axes.set_ylabel("action")
    for axes in figure.axes:
        axes.set_xlim(0, time[-1])
        axes.grid(alpha=0.3)
    for axes in figure.axes[-across:]:
        axes.set_xlabel("time [s]" if made.dt else "steps")
    figure.align_ylabels()
    figure.suptitle(f"{env.id}: an episode of {len(made.reward)} steps, return {made.reward.sum():.4g}")
    return figure


def _lines(axes: Any, time: np.ndarray, values: np.ndarray, whole: bool) -> None:
    """One line for each column; whole numbers, and actions, keep their value until the next step."""
    axes.plot(time, values.reshape(len(time), -1), drawstyle="steps-post" if whole else "default", linewidth=1.2)
