"""Instructions counted in SASS: the usual way through loops, and the table that comes of it."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])


def load(name: str):
    return importlib.import_module(name)


def assembly(source: str) -> str:
    """Lines as the disassembler writes them, of instructions and labels parted by `;`."""
    words = [word.strip() for word in source.split(";") if word.strip()]
    at = iter(range(16 * len(words)))
    return "\n".join(
        w if w.endswith(":") else f"        /*{next(at) * 16:04x}*/                   {w} ;" for w in words
    )


HEAD = "MOV R1, R2; .L_x_1:; "
TAIL = "@P0 BRA `(.L_x_1); EXIT"


@pytest.mark.parametrize(
    ("source", "length"),
    [
        (HEAD + "FADD R1, R1, R2; FMUL R1, R1, R2; " + TAIL, 3),
        # what is rare is jumped over, also where it lies behind the end of the kernel and jumps back
        (HEAD + "@!P1 BRA `(.L_x_2); MUFU.EX2 R1, R1; FADD R1, R1, R2; .L_x_2:; FMUL R1, R1, R2; " + TAIL, 3),
        (HEAD + "@P1 BRA `(.L_x_9); .L_x_2:; " + TAIL + "; .L_x_9:; FADD R1, R1, R2; BRA `(.L_x_2)", 2),
        # but not what stores
        (HEAD + "@!P1 BRA `(.L_x_2); FADD R1, R1, R2; STG.E desc[UR4][R2.64], R1; .L_x_2:; " + TAIL, 4),
        # a jump out of the loop is no way through it
        (HEAD + "@P1 BRA `(.L_x_3); FADD R1, R1, R2; @P0 BRA `(.L_x_1); .L_x_3:; EXIT", 3),
        # uniform and divergent branches go on too
        (HEAD + "BRA.U UP0, `(.L_x_2); FADD R1, R1, R2; .L_x_2:; FMUL R1, R1, R2; " + TAIL, 3),
        # a loop within, of two instructions and three turns
        (HEAD + "FADD R1, R1, R2; .L_x_2:; FMUL R1, R1, R2; @P1 BRA `(.L_x_2); FADD R1, R1, R2; " + TAIL, 9),
        # of two loops the longer; and those with tensor cores, added
        (HEAD + "@P0 BRA `(.L_x_1); .L_x_2:; FADD R1, R1, R2; @P0 BRA `(.L_x_2); EXIT", 2),
        (HEAD + "HMMA.1688 R1; @P0 BRA `(.L_x_1); .L_x_2:; HGMMA.64 R1; FADD R1; @P0 BRA `(.L_x_2); .L_x_3:; "
         "FADD R1; FADD R1; FADD R1; FADD R1; FADD R1; @P0 BRA `(.L_x_3); EXIT", 5),
    ],
)  # fmt: skip
def test_a_turn_is_the_usual_way(source, length):
    assert load("sass").turn(assembly(source), (3,)) == length


def test_loops_within_loops_turn_as_often_as_said():
    source = HEAD + "FADD R1; .L_x_2:; FADD R1; .L_x_3:; FMUL R1; @P2 BRA `(.L_x_3); @P1 BRA `(.L_x_2); " + TAIL
    turn = load("sass").turn
    assert [turn(assembly(source), trips) for trips in ((), (5,), (5, 7))] == [6, 2 + 5 * 4, 2 + 5 * (2 + 7 * 2)]


def test_without_a_loop_there_is_none():
    with pytest.raises(ValueError, match="no loop"):
        load("sass").turn(assembly("MOV R1, R2; EXIT"))


def test_a_kernel_is_counted():
    """Each instruction that is added to a row is counted."""
    tool = load("instructions")
    found = tool.counted(tool.cases()["rollout, MountainCar, tf32x3"])
    assert 100 < found["instructions"] < 600
    assert found["spill_stores"] == found["spill_loads"] == 0
    assert "registers" in found


def test_the_table_has_a_column_for_each_run():
    tool = load("instructions")
    figures = {"rows": 64, "warps": 4, "instructions": 1000, "registers": 99, "spill_stores": 4, "spill_loads": 8}
    origin = {"commit": "c", "date": "2026-01-01T", "command": "x"}
    text = tool.lines({"before": origin | {"kernels": {"a": figures}}, "after": origin | {"kernels": {"b": figures}}})
    assert text[-4] == "| kernel | before | after |"
    assert text[-2:] == [
        "| a | 1,000 (927 M/s) · 99 · **4/8** · 64, 4 |  |",
        "| b |  | 1,000 (927 M/s) · 99 · **4/8** · 64, 4 |",
    ]
