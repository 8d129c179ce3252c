"""Modules that were moved, by the names that they had until 0.1; they go with 0.2."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "gpusim.agents.cli": "gpusim.agents.app.cli",
    "gpusim.agents.config": "gpusim.agents.train.config",
    "gpusim.agents.evaluate": "gpusim.agents.train.evaluate",
    "gpusim.agents.learner": "gpusim.agents.train.learner",
    "gpusim.agents.loop": "gpusim.agents.train.loop",
    "gpusim.agents.run": "gpusim.agents.train.run",
    "gpusim.agents.training": "gpusim.agents.train.training",
}


class Moved(MetaPathFinder, Loader):
    """Imports the module of the new name for the old one, and says so."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        warnings.warn(
            f"{old} is {MOVED[old]} now; the old name goes with gpusim 0.2.", DeprecationWarning, stacklevel=2
        )
        sys.modules[old] = importlib.import_module(MOVED[old])


sys.meta_path.append(Moved())
