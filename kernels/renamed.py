"""Names that were changed in this release and go with the next."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module in which old `names` still give what the new ones do, with a DeprecationWarning."""

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        sentence = f"{module}.{name} is {module}.{names[name]} now; the old name goes with gpusim 0.2."
        warnings.warn(sentence, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return look_up
