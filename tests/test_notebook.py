"""The notebooks run from top to bottom, and are stored with what they then show: `make notebooks`."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pages import ROOT

BOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def pictures(book):
    return [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in code(book)]


@pytest.mark.slow
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_it_runs_and_shows_as_many_pictures_as_are_stored(path, tmp_path):
    book = nbformat.read(path, as_version=4)
    stored = pictures(book)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [output for cell in code(book) for output in cell.outputs if output.output_type == "error"] == []
    assert pictures(book) == stored


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_it_is_stored_as_it_was_shown(path):
    book = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    assert sum(pictures(book)) >= 1
    assert str(ROOT) not in path.read_text()
