"""Values in prose: what {eval} in a chapter's Markdown shows, and what is refused."""

import json
from types import SimpleNamespace

import nbformat
import pytest
from docutils import nodes
from sphinx.errors import ExtensionError

from hw3.disk import ROOT
from press import build, values

PARAMETERS = {"PROFILE": "smoke", "DATA": None, "FRESH": False}
CODE, TEXT = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell


def run(folder, *cells):
    """Run a chapter of cells; return it executed."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [CODE("DATA = None", metadata={"tags": ["parameters"]}), *cells]
    nbformat.write(notebook, folder / "x.ipynb")
    build.run_chapter(folder / "x.ipynb", folder / "out" / "x.ipynb", PARAMETERS, "key")
    return nbformat.read(folder / "out" / "x.ipynb", as_version=4)


def test_values_of_expressions_are_kept_as_jupyterlab_shows_them_and_no_cell_more(tmp_path):
    cells = [
        CODE('from hw3.metrics import proportion\nn, word, right = 7, "it\'s", proportion(8, 10)'),
        TEXT("All {eval}`n` of {eval}`word`,\nthen {eval}`right` and {eval}`n`."),
        CODE("n = 7"),
        TEXT("Again {eval}`n` and {eval}`f'{right:short}'`."),
    ]
    made = run(tmp_path, *cells)
    assert made.metadata["hw3"]["values"] == {
        "n": "7",
        "word": "it's",
        "right": "80.0% [49.0, 94.3; n = 10]",
        "f'{right:short}'": "80.0% [49.0, 94.3]",
    }
    kinds = [cell.cell_type for cell in made.cells if "injected-parameters" not in str(cell)]
    assert kinds == ["code", "code", "markdown", "code", "markdown"]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["n = 7", "{eval}`n` {eval}`m`"], "cell 3, {eval}`m`: NameError: name 'm' is not defined"),
        (["n = 7", "{eval}`n`", "n = 8", "{eval}`n`"], "cell 5, {eval}`n`: it is '8' here, '7'"),
        (["import numpy as np", "{eval}`np.float64(1)`"], "it shows as 'np.float64(1.0)': make"),
        (["x = object()", "{eval}`x`"], "cell 3, {eval}`x`: it shows as '<object at"),
    ],
)
def test_what_is_no_value_is_refused_in_one_line(tmp_path, cells, problem):
    cells = [(CODE, TEXT)[i % 2](text) for i, text in enumerate(cells)]
    with pytest.raises(build.BuildError) as caught:
        run(tmp_path, *cells)
    assert str(caught.value).startswith("book/x.ipynb, cell ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "x.ipynb").exists()


def test_every_expression_of_a_chapter_is_found():
    found = [
        values.ROLE.findall(cell.source)
        for path in (ROOT / "book").glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
    ]
    roles = [e for expressions in found for e in expressions]
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.ipynb"))
    assert len(roles) == texts.count("{eval}") > 0


def page(about, expression):
    """Return the text of a page that shows an expression, of a chapter with this metadata."""
    (place,), _ = values.role("eval", "", expression, 1, None)
    tree = nodes.paragraph("", "All ", place, nodes.Text(" of them"))
    env = SimpleNamespace(docname="book/x", metadata={"book/x": about})
    values.fill(SimpleNamespace(env=env, config=SimpleNamespace(language="zh_TW")), tree)
    return tree.astext()


def test_a_page_shows_the_values_of_its_chapter():
    about = {"hw3": json.dumps({"values": {"n": "7", "f'{x:.1f}'": "0.5"}})}
    assert page(about, "n") == "All 7 of them"
    assert page(about, "f'{x:.1f}'") == "All 0.5 of them"


def test_an_expression_that_only_the_translation_has_fails_the_build():
    about = {"hw3": json.dumps({"values": {"n": "7"}})}
    with pytest.raises(ExtensionError, match=r"book/x \(zh_TW\): {eval}`m` is no value"):
        page(about, "m")


def test_a_page_that_jupyter_book_made_alone_shows_expressions():
    assert page({}, "n") == "All n of them"
