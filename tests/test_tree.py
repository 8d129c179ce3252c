"""Trees of tensors: walked, compared, and read and written by functions made for one form."""

from typing import NamedTuple

import numpy as np
import torch

from gpusim.tree import alike, changed, each_field, plain, reader, tensors, tree_map, writer


class Point(NamedTuple):
    x: object
    y: object


def tree():
    return {"a": Point(torch.ones(2), 3), "b": [torch.zeros(1), (None, torch.ones(3))], "c": "text"}


def test_a_map_keeps_the_form_and_what_is_no_leaf():
    out = tree_map(lambda x: x + 1, tree())
    assert type(out["a"]) is Point
    assert out["a"].y == 3
    assert out["c"] == "text"
    assert out["b"][1][0] is None
    assert [x.tolist() for x in tensors(out)] == [[2, 2], [1], [2, 2, 2]]


def test_a_map_of_several_trees_and_of_another_kind():
    out = tree_map(lambda a, b: a - b, tree(), tree())
    assert [x.abs().sum().item() for x in tensors(out)] == [0, 0, 0]
    there = tree_map(torch.from_numpy, (np.ones(2), torch.zeros(2)), kind=np.ndarray)
    assert all(isinstance(x, torch.Tensor) for x in there)
    assert there[0].sum() == 2


def test_plain_goes_down():
    assert plain(Point(Point(1, 2), (3,))) == {"x": {"x": 1, "y": 2}, "y": (3,)}


def test_alike_is_of_all_but_values():
    one, other = Point(torch.ones(2), (1, None)), Point(torch.zeros(2), (1, None))
    assert alike(one, other)
    assert not alike(one, other._replace(y=(2, None)))
    assert not alike(one, other._replace(x=1.0))
    assert not alike(one, other._replace(y=(1,)))
    assert not alike(one, 3)


def test_fields():
    assert each_field(max, Point(1, 5), Point(2, 3)) == Point(2, 5)
    assert changed(Point(1, 2), y=4) == Point(1, 4)


def test_what_is_read_is_written_again():
    read, write = reader(tree()), writer(tree())
    found, rest = read(tree())
    assert len(found) == 3
    assert rest == (int, 3, type(None), None, str, "text")
    again = write([x + 1 for x in found])
    assert tensors(again)[0].tolist() == [2, 2]
    assert alike(tuple(again["a"]), tuple(tree()["a"]))
    assert read(tree() | {"c": 5})[1] != rest
