"""The MinAtar package itself: one Python object for each environment, stepped one after the other.

MODE is `step` (boards shown, returns of episodes kept) or `bare` (neither); actions are drawn beforehand. An environment
that ends is reset within the same step, so that every step is a transition.
"""

import random

from minatar import Environment
from serve import request, serve

PEERS = [
    {
        "name": "MinAtar",
        "runs": "Python",
        "envs": {"MinAtar/*-v1": "{snake}"},
        "modes": ("step", "bare"),
        "differs": "A Python object for each environment; `bare` shows no boards.",
        "most_envs": 256,
    }
]


def main() -> None:
    asked = request()
    envs = [Environment(asked.env) for _ in range(asked.num_envs)]
    for number, env in enumerate(envs):
        env.seed(number)
        env.reset()
    random.seed(0)
    allowed = envs[0].minimal_action_set()
    actions = [random.choices(allowed, k=asked.num_envs) for _ in range(asked.steps)]
    returns, ended, at = [0.0] * asked.num_envs, [], 0

    def run(calls: int) -> int:
        nonlocal at
        for _ in range(calls):
            for i, (env, action) in enumerate(zip(envs, actions[at], strict=True)):
                reward, done = env.act(action)
                if asked.mode != "bare":
                    returns[i] += reward
                    if done:
                        ended.append(returns[i])
                        returns[i] = 0.0
                if done:
                    env.reset()
                if asked.mode != "bare":
                    env.state()
            at = (at + 1) % len(actions)
        ended.clear()
        return calls * asked.num_envs

    serve(run, asked.seconds, ("MinAtar", "numpy"))


if __name__ == "__main__":
    main()
