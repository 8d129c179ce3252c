"""One's own prices, looked at before they become a table, and parts of them for training and for testing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpusim.errors import InputError, told

PLACES = 8  # assets that a portfolio's table has room for


@dataclass(frozen=True)
class Prices:
    """Bars of one or several assets, in the order of time.

    Attributes:
        names: of the assets, K.
        opens, closes: `[T, K]` float64, above 0.
        labels: of the rows, T, as dates.
    """

    names: tuple[str, ...]
    opens: np.ndarray
    closes: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.closes)

    def part(self, rows: slice) -> "Prices":
        """Those rows.

        Raises:
            InputError: they are fewer than two.
        """
        if len(range(*rows.indices(len(self)))) < 2 or rows.step not in (None, 1):
            raise InputError(f"a part of {len(self)} bars has two or more that follow one another, not {told(rows)}.")
        return replace(self, opens=self.opens[rows], closes=self.closes[rows], labels=self.labels[rows])

    def tables(self, env: Any) -> dict[str, np.ndarray]:
        """For `gpusim.make(..., tables=...)` of `TradingData-v0`, `PortfolioData-v0` or one made of them.

        Raises:
            InputError: they are not for so many assets.
        """
        places = env.tables.bars.shape[1] // 2
        if len(self.names) > places:
            many = (
                f"one asset, not of {len(self.names)}"
                if places == 1
                else f"at most {places} assets, not {len(self.names)}"
            )
            raise InputError(f"{env.id} takes prices of {many}.")
        empty = np.ones((len(self), places - len(self.names)))
        return {"bars": np.concatenate([self.opens, empty, self.closes, empty], 1).astype(np.float32)}

    def env(self, env: Any, id: str) -> Any:
        """`env`, `TradingData-v0` or `PortfolioData-v0`, on these prices, by an id of its own.

        Raises:
            InputError: it is not for so many assets.
        """
        assets = {"assets": len(self.names)} if "assets" in env.params._fields else {}
        given = type(env.tables)(**self.tables(env))
        return replace(env, id=id, params=env.params._replace(**assets), tables=given)


def prices(data: Any, close: str | Sequence[str] | None = None, open: str | Sequence[str] | None = None) -> Prices:
    """The prices in a DataFrame, an array or a tensor, a row for each bar, in the order of time.

    Args:
        data: a DataFrame (or any mapping of columns), or numbers `[T]` or `[T, K]`.
        close: the columns of closes, one for each asset, by name; for an array, what its columns are to be called. None: the
            column "close", where there is one, else all columns.
        open: the columns of opens, in the same order; None: "open", where "close" was found by itself and it is there, else
            every bar opens at the close before it.

    Raises:
        InputError: a column is not there, is no numbers, or has a gap or a price that is not above 0 (the sentence says in
            which row); rows are not in the order of time, or fewer than two.
    """
    names, columns, labels = _columns(data)
    if close is None and open is None and (found := _named(names, "close")):
        close, open = found, _named(names, "open")
    framed = hasattr(data, "keys")
    chosen = names if close is None else _list(close)
    if not framed and close is not None:
        if len(chosen) != len(names):
            raise InputError(f"there are {len(names)} columns of prices, and {len(chosen)} names for them.")
        names, columns = chosen, dict(zip(chosen, columns.values(), strict=True))
    closes = _picked(columns, chosen, labels)
    if open is None:
        opens = np.concatenate([closes[:1], closes[:-1]])
    else:
        opens = _picked(columns, _list(open), labels)
        if opens.shape != closes.shape:
            raise InputError(f"there are {closes.shape[1]} columns of closes and {opens.shape[1]} of opens.")
    if len(closes) < 2:
        raise InputError(f"prices are two bars or more, not {len(closes)}.")
    _in_order(labels)
    return Prices(tuple(chosen), opens, closes, labels)


def _columns(data: Any) -> tuple[list[str], dict[str, Any], np.ndarray]:
    """Names, columns by name, and labels of rows."""
    if hasattr(data, "keys"):
        columns = {str(name): data[name] for name in data}
        if not columns:
            raise InputError("prices need a column or more; here is none.")
        index = getattr(data, "index", None)
        labels = np.arange(len(next(iter(columns.values())))) if index is None else np.asarray(index)
        return list(columns), columns, labels
    values = data.detach().cpu().numpy() if hasattr(data, "detach") else np.asarray(data)
    if values.ndim not in (1, 2) or not values.size:
        raise InputError(f"prices are a DataFrame, or numbers [T] or [T, K], not {told(data)}.")
    values = values[:, None] if values.ndim == 1 else values
    return [str(k) for k in range(values.shape[1])], {str(k): x for k, x in enumerate(values.T)}, np.arange(len(values))


def _named(names: list[str], wanted: str) -> str | None:
    found = [name for name in names if name.lower() == wanted]
    return found[0] if len(found) == 1 else None


def _list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _picked(columns: dict[str, Any], names: list[str], labels: np.ndarray) -> np.ndarray:
    """`[T, K]` float64, looked at."""
    picked = []
    for name in names:
        if name not in columns:
            raise InputError(f"there is no column {name!r}; there are {', '.join(columns)}.")
        try:
            column = np.asarray(columns[name], np.float64)
        except (TypeError, ValueError):
            raise InputError(f"the column {name!r} has something else than numbers.") from None
        small = np.finfo(np.float32)
        for what, bad in (
            ("a gap (nan)", np.isnan(column)),
            ("a price that is not above 0", column <= 0),
            ("a price that float32 does not hold", (column < small.tiny) | (column > small.max)),
        ):
            if bad.any():
                row = int(bad.argmax())
                label = "" if labels[row] == row else f" ({labels[row]})"
                raise InputError(f"the column {name!r} has {what}, {column[row]:g}, in row {row}{label}.")
        picked.append(column)
    if len({len(column) for column in picked}) != 1:
        raise InputError("the columns of prices are not of one length.")
    return np.stack(picked, 1)


def _in_order(labels: np.ndarray) -> None:
    try:
        late = ~(labels[1:] > labels[:-1])
    except TypeError:  # labels without an order
        return
    if late.any():
        row = int(late.argmax()) + 1
        raise InputError(
            f"row {row} ({labels[row]}) does not come after the one before it ({labels[row - 1]}): sort the rows."
        )


def walk_forward(
    length: int, train: int, test: int, purge: int = 0, embargo: int = 0, anchored: bool = False
) -> Iterator[tuple[slice, slice]]:
    """Parts to train on and to test on, every test later than its training, and no bar in two tests.

    Args:
        length: bars there are.
        train, test: bars of each part.
        purge: bars left out between a training and its test, at least as many as an observation looks back or a return
            reaches on (Lopez de Prado, 2018).
        embargo: bars left out between a test and the next, so that what is still in the market of one is not in the other.
        anchored: whether every training begins with the first bar, and grows, where otherwise it moves on.

    Raises:
        InputError: a number is none such, or there is no room for one test.
    """
    for name, value, least in (("train", train, 2), ("test", test, 2), ("purge", purge, 0), ("embargo", embargo, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} must be a whole number of bars, {least} or more, not {told(value)}.")
    if train + purge + test > length:
        raise InputError(f"{length} bars have no room for {train} to train on, {purge} between and {test} to test on.")
    return _parts(length, train, test, purge, embargo, anchored)


def _parts(
    length: int, train: int, test: int, purge: int, embargo: int, anchored: bool
) -> Iterator[tuple[slice, slice]]:
    begin = train + purge
    while begin + test <= length:
        yield slice(0 if anchored else begin - purge - train, begin - purge), slice(begin, begin + test)
        begin += test + embargo
