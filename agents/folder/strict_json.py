"""JSON as its standard has it (RFC 8259), which knows neither NaN nor infinity: in their place stands null."""

import json
import math
from typing import Any


def dumps(value: Any, indent: int | None = None) -> str:
    """As `json.dumps`."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
