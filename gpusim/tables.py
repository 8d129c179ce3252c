"""Tables: numbers that all environments share, which lie on a device once and are no part of a state."""

import functools
import hashlib
import warnings
from collections import namedtuple
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpusim.errors import InputError, told
from gpusim.remember import by_env

DTYPES = {torch.float32: torch.float32, torch.float64: torch.float32, torch.float16: torch.float32,
          torch.bfloat16: torch.float32, torch.int64: torch.int32, torch.int16: torch.int32, torch.int8: torch.int32,
          torch.uint8: torch.int32, torch.int32: torch.int32, torch.bool: torch.bool}  # fmt: skip


def tables_of(name: str, params: Any, given: Any) -> Any:
    """The tables of the environment `name`, each a contiguous tensor `[T]` or `[T, K]` of float32, int32 or bool.

    Raises:
        InputError: they are no `NamedTuple`, a name is one of the parameters' too, or a table is none.
    """
    fields = getattr(given, "_fields", None) if isinstance(given, tuple) else None
    if not fields:
        raise InputError(f"the tables of {name} must be a NamedTuple of tensors, arrays or lists, not {told(given)}.")
    if both := [field for field in fields if field in getattr(params, "_fields", ())]:
        raise InputError(f"{both[0]!r} is a parameter and a table of {name}: give one of them another name.")
    return type(given)(*(_table(f"the table {field!r} of {name}", x) for field, x in zip(fields, given, strict=True)))


def _table(what: str, given: Any) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an array that is not to be written to: nobody does
            table = torch.as_tensor(given).detach()
        if table.layout is not torch.strided or table.is_nested:
            raise TypeError
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{what} must be numbers, in a tensor, an array or a list, not {told(given)}.") from None
    if table.ndim not in (1, 2) or not table.numel() or table.numel() >= 2**31:
        raise InputError(
            f"{what} must have the shape [T] or [T, K], and from 1 to 2**31 - 1 entries, not {tuple(table.shape)}."
        )
    if table.dtype not in DTYPES:
        raise InputError(f"{what} must be of float32, int32 or bool, not {name_of(table)}.")
    kept = table.to(DTYPES[table.dtype]).contiguous()
    bad = ~kept.isfinite() if kept.dtype == torch.float32 else kept != table
    if bool(bad.any()):
        at = bad.nonzero()[0].tolist()
        place = f"row {at[0]}" + (f", column {at[1]}" if len(at) > 1 else "")
        raise InputError(f"{what} has {table[tuple(at)].item()} in {place}, which no finite {name_of(kept)} is.")
    return kept


def joined(params: Any, tables: Any) -> Any:
    """The class of what functions are given: the fields of both."""
    return _joined(params, tables)


@functools.cache
def _joined(params: Any, tables: Any) -> Any:
    names: Any = (*params._fields, *tables._fields)
    make = namedtuple  # as mypy knows none of names that are not written out
    return make(params.__name__, names, module=params.__module__)


def replaced(env: Any, given: Any) -> Any:
    """`env` with other tables, by name.

    Raises:
        InputError: it has none of that name, or one is no table, or has another number of columns or dtype.
    """
    changes = given._asdict() if hasattr(given, "_asdict") else given
    if not isinstance(changes, dict):
        raise InputError(f"tables must be a dict of tables by name, not {told(given)}.")
    if env.tables is None:
        raise InputError(f"{env.id} has no tables that could be replaced.")
    for name in changes:
        if name not in env.tables._fields:
            raise InputError(f"{env.id} has no table {told(name)}; it has {', '.join(env.tables._fields)}.")
    new = replace(env, tables=env.tables._replace(**changes))
    for name, before, now in zip(env.tables._fields, env.tables, new.tables, strict=True):
        if before.shape[1:] != now.shape[1:] or before.dtype != now.dtype:
            raise InputError(
                f"the table {name!r} of {env.id} must be {described(before)}, of any length, not {described(now)}."
            )
    return new


def described(table: Tensor) -> str:
    return f"{name_of(table)} [T, {table.shape[1]}]" if table.ndim == 2 else f"{name_of(table)} [T]"


def name_of(table: Tensor) -> str:
    return str(table.dtype).removeprefix("torch.")


@by_env
def placed(env: Any, device: torch.device) -> Any:
    """`env` with its tables on that device; the one it was if they lie there."""
    if env.tables is None or all(x.device == device for x in env.tables):
        return env
    return _with(env, type(env.tables)(*(x.to(device) for x in env.tables)))


@by_env
def on_arrays(env: Any) -> Any:
    """`env` with its tables as NumPy arrays, of the same memory where they lie on the CPU."""
    return env if env.tables is None else _with(env, type(env.tables)(*(x.numpy(force=True) for x in env.tables)))


def _with(env: Any, tables: Any) -> Any:
    new = replace(env, tables=None)
    object.__setattr__(new, "tables", tables)
    return new


def digest(env: Any) -> dict[str, str] | None:
    """Of each table, by name, the SHA-256 of what it holds; None where there are none."""
    if env.tables is None:
        return None
    arrays: dict[str, np.ndarray] = on_arrays(env).tables._asdict()
    return {
        name: hashlib.sha256(repr((x.shape, x.dtype.name)).encode() + x.tobytes()).hexdigest()
        for name, x in arrays.items()
    }
