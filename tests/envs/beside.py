"""What is known of an environment to the tests alone stands beside it: of `gpusim/envs/classic/cartpole.py` in
`tests/envs/classic/cartpole.py`, where `ORACLE` is the implementation whose numbers it has to reproduce."""

import importlib
from typing import Any

from gpusim import Env
from gpusim.envs import ENVIRONMENTS


def oracle(env: Env) -> Any:
    """What the environment is compared with; its `against` is a source and a name in it."""
    file = env.init.__module__.removeprefix("gpusim.envs")
    return importlib.import_module(f"tests.envs{file}").ORACLE


def beside(kind: type) -> list[Env]:
    """The environments that are compared with an oracle of this kind."""
    return [env for env in ENVIRONMENTS if isinstance(oracle(env), kind)]
