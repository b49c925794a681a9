"""How much of a chapter's prose stands in Markdown cells, and how much in strings of its code.

`python tests/prose.py` prints it for all chapters.
"""

import ast
import re
import sys
from pathlib import Path

import nbformat

# A word of prose; LaTeX, names and numbers are none.
WORD = re.compile(r"(?<!\S)[\"'(*]*[A-Za-z]['A-Za-z-]*[.,:;?!)\"'*]*(?!\S)")
LONG = 8  # words that a string may have


def strings(source):
    """Yield the constant text of each string and f-string of Python source."""
    tree = ast.parse(source)
    inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value for v in node.values if isinstance(v, ast.Constant))
        elif isinstance(node, ast.Constant) and id(node) not in inner:
            yield str(node.value)


def measure(path):
    """Return of a chapter: words in Markdown, words in long strings of code, the longest cell in
    lines, the functions that it defines.
    """
    markdown, coded, longest, functions = 0, 0, 0, []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            markdown += len(WORD.findall(cell.source))
            continue
        counts = [len(WORD.findall(text)) for text in strings(cell.source)]
        coded += sum(count for count in counts if count > LONG)
        longest = max(longest, sum(bool(line.strip()) for line in cell.source.splitlines()))
        nodes = ast.walk(ast.parse(cell.source))
        functions += [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return markdown, coded, longest, functions


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(Path("book").glob("*.ipynb")):
        print(f"{path.stem:12}", *measure(path))
