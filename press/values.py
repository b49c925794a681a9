"""Values in prose: {eval}`name` in a chapter's Markdown, in both editions.

JupyterLab shows them live through jupyterlab-myst. For the build, a hidden cell before each such
Markdown cell displays the values (`ask`); they go into the executed chapter's metadata (`keep`),
and the role, which is a Sphinx extension, puts them into the page (`fill`).
"""

import ast
import json
import re

from docutils import nodes
from sphinx.errors import ExtensionError

from press.chapters import BuildError

ROLE = re.compile(r"\{eval\}`([^`]+)`")
NO_TEXT = re.compile(r"\bnp\.|^<.*>$|\n", re.DOTALL)  # as NumPy and objects show themselves


def setup(app) -> dict:
    """Register the extension with Sphinx: its role takes the place of MyST-NB's."""
    app.add_role("eval", role, override=True)
    app.connect("doctree-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def ask(notebook) -> None:
    """Put a cell before each Markdown cell with expressions, which displays their values."""
    import nbformat  # takes a second

    cells = []
    for number, cell in enumerate(notebook.cells, 1):
        expressions = ROLE.findall(cell.source) if cell.cell_type == "markdown" else []
        if expressions:
            shows = "\n".join(f"display({expression})" for expression in expressions)
            about = {"expressions": expressions, "cell": number}
            cells.append(nbformat.v4.new_code_cell(shows, metadata=about))
        cells.append(cell)
    notebook.cells = cells


def keep(notebook, chapter: str) -> dict[str, str]:
    """Take the cells of `ask` out of an executed notebook; return the texts of all expressions.

    Raises BuildError, in one line, where an expression failed, shows no text, or has two values.
    """
    values = {}
    for cell in (cell for cell in notebook.cells if "expressions" in cell.metadata):
        for expression, output in zip(cell.metadata.expressions, cell.outputs, strict=False):
            text, problem = shown(output), ""
            if "ename" in output:
                problem = f"{output.ename}: {output.evalue}"
            elif NO_TEXT.search(text):
                problem = f"it shows as {text!r}: make a text of it, as f'{{x:.1f}}'"
            elif values.setdefault(expression, text) != text:
                problem = f"it is {text!r} here, {values[expression]!r} above: use two names"
            if problem:
                where = f"book/{chapter}, cell {cell.metadata.cell}"
                raise BuildError(f"{where}, {{eval}}`{expression}`: {problem}")
    notebook.cells = [cell for cell in notebook.cells if "expressions" not in cell.metadata]
    return values


def shown(output) -> str:
    """Return what an output shows as text, as JupyterLab does: without the quotes of a string."""
    text = output.get("data", {}).get("text/plain", "")
    return ast.literal_eval(text) if re.fullmatch(r"(['\"]).*\1", text, re.DOTALL) else text


def role(name, rawtext, text, lineno, inliner, options=None, content=()):
    """Return the place of a value, which `fill` fills."""
    return [nodes.inline(rawtext, "", expression=text, classes=["hw3-value"])], []


def about(env) -> dict:
    """Return what the build knows of the chapter that is read: see build.run_chapter."""
    return json.loads(env.metadata[env.docname].get("hw3", "{}"))


def fill(app, doctree) -> None:
    """Put the values that the executed chapter holds into its page; ExtensionError without one.

    A chapter that only jupyter-book ran has none: its page shows the expressions.
    """
    values = about(app.env).get("values")
    for place in [node for node in doctree.findall(nodes.inline) if "expression" in node]:
        expression = place["expression"]
        if values is not None and expression not in values:
            where = f"{app.env.docname} ({app.config.language})"
            raise ExtensionError(f"{where}: {{eval}}`{expression}` is no value of its chapter")
        place += nodes.Text((values or {}).get(expression, expression))
