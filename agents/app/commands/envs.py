"""`gpusim envs`: the environments."""

import dataclasses

from gpusim.agents.app import arguments


def main(args: list[str]) -> int:
    @dataclasses.dataclass(frozen=True)
    class Envs:
        """Lists the environments."""

    arguments.options(Envs(), args, "gpusim envs")
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    import gpusim

    heads = (Column("id", no_wrap=True), "observation", "action", "time limit", "solved at")
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in gpusim.env_ids():
        env = gpusim.spec(name)
        action = str(env.action_space.n) + " choices" if hasattr(env.action_space, "n") else str(env.action_space.shape)
        threshold = "" if env.reward_threshold is None else f"{env.reward_threshold:g}"
        table.add_row(name, str(env.observation_space.shape), action, str(env.max_episode_steps or ""), threshold)
    Console().print(table)
    print("Any other id of Gymnasium's (LunarLander-v3, ALE/Pong-v5, ...) is stepped on the host.")
    print("One's own is named with the file or module that registers it: path/to/mine.py:Mine-v0, mine:Mine-v0.")
    return 0
