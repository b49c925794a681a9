"""The Traditional Chinese edition: what each message of the book says in Chinese, or lacks.

A chapter's prose is computed, so a message changes with each build. The catalog CATALOG, an
ordinary .po file, holds it with %1, %2, ... for what is computed: formatted values and conditions
in the source. What a placeholder catches is translated by the same catalog, as a whole, or its
sentences, or the parts of a list; names and numbers stay (%=1 in the Chinese keeps any text).
`write_concrete` makes of the doctrees of the English pages the .po of one build, which Sphinx's own
transform then reads. Sphinx does not look into HTML, such as tables, nor into the pages' heads: for
them this module is an extension of the Chinese build.
"""

# ruff: noqa: RUF001 (Chinese has its own parentheses and colons)
import ast
import html
import io
import json
import pickle
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po, write_po
from docutils import nodes
from sphinx.locale import init
from sphinx.search import SearchLanguage, languages
from sphinx.util.nodes import LITERAL_TYPE_NODES, extract_messages

from hw3.disk import ROOT, build_dir, write_atomically
from press.chapters import ORDER, PACKAGES, read_cells, settings_texts

LANGUAGE = "zh_TW"
CATALOG = ROOT / "book" / "locale" / f"{LANGUAGE}.po"
HEADER = b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
HEADER += b'"Language: zh_TW\\n"\n\n'
HOLE = "\0"  # something computed, in a text of the source
# What joins sentences and the parts of a list, in English and in Chinese; nothing within [...].
SENTENCES = r"(?<=[.?!]) (?=\S)"
JOINTS = {SENTENCES: "", "; ": "；", ": ": "：", ", ": "、", " → ": " → ", " – ": "–"}
JOINTS |= {"(?<=[a-z])/(?=[A-Z])": "／", r" (?=[\d(])": " "}
# A word to translate stands alone and is no name such as CNN, conv1 or n, nor {eval}`name`.
WORD = re.compile(r"(?<![\w{`.])[A-Za-z]*[a-z]{2}[A-Za-z]*(?!\w)")
# Two words, not in code: no device's or file's name.
PROSE = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b(?=[^`]*(`[^`]*`[^`]*)*$)")
# In HTML: scripts, of which only _("...") is for readers, texts between tags, and attributes that
# are read out. The last ones are messages of try_photo.html.
SPOKEN = ["aria-label", "alt", "title", "placeholder", "data-start", "data-load", "data-likely"]
SPOKEN += ["data-picture", "data-camera", "data-broken"]
SPOKEN = "(?:" + "|".join(rf'(?<=\s{name}=")' for name in SPOKEN) + ')[^"]+'
NO_TEXT = r"<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"
IN_HTML = re.compile(rf"{NO_TEXT}|(?<=>)[^<>]+(?=<)|{SPOKEN}", re.DOTALL)
IN_SCRIPT = re.compile(r'(?<=\b_\(")[^"]+(?="\))')
# Data and layout of a plotly figure, as its to_html sets them apart, and their keys of words.
IN_PLOT = re.compile(r"(?<=,\s{24})[\[{].*?(?=,\s{24})")
PLOTTED = {"hovertemplate", "hovertext", "name", "text", "x", "y"}
# Words of the theme that stand in its templates, where no translation reaches them.
THEME = ["Search this book...", "Toggle primary sidebar", "Toggle secondary sidebar"]
THEME += ["Toggle hidden content", "Color mode", "System Settings", "Main", "Page"]


def one_line(text: str) -> str:
    """Return text with single spaces, as messages are compared."""
    return " ".join(text.split())


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return re.split(SENTENCES, text)


def words(text: str) -> bool:
    """Return whether there is anything to translate in a text of the source."""
    return bool(WORD.search(text.replace(HOLE, "_")))


def numbered(text: str) -> str:
    """Return a text of the source as the catalog has it: %1, %2, ... in place of its holes."""
    parts = re.split(f"{HOLE}+", text)
    return parts[0] + "".join(f"%{number}{part}" for number, part in enumerate(parts[1:], 1))


# The source: every text that it can show, with holes for what it computes.


def source_texts() -> dict[str, tuple[str, bool]]:
    """Return all texts that pages can show, in one line: {text: (its file, is it a branch)}.

    A branch is a whole text that a chapter's condition shows or not.
    """
    entries = []

    def add(path: Path, texts, branch: bool = False) -> None:
        file = str(path.relative_to(ROOT))
        entries.extend((one_line(text), (file, branch)) for text in texts)

    for path in sorted(ROOT / "book" / f"{name}.ipynb" for name in ORDER):
        for kind, source in read_cells(path):
            for text, branch in texts_of(source) if kind == "code" else [(source, False)]:
                add(path, blocks(text))
                if branch:
                    add(path, blocks(text) & {text.strip()}, True)
    for path in sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")):
        for text, _ in texts_of(path.read_text(encoding="utf-8")):
            add(path, blocks(text))
    for path in sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.html")):
        texts = []
        translate_html(path.read_text(encoding="utf-8"), noting(texts))
        add(path, texts)
    for path in sorted((ROOT / "results" / "audit").glob("*.json")):
        strings = re.findall(r'"(?:[^"\\]|\\.)*"', path.read_text(encoding="utf-8"))
        add(path, map(json.loads, strings))
    for path in sorted((ROOT / "results" / "fer2013").glob("*/run.json")):
        add(path, blocks(json.loads(path.read_text(encoding="utf-8")).get("note", "")))
    for text, file in settings_texts().items():
        add(ROOT / file, [text])
    # where a text stands twice, its being a branch counts
    return dict(sorted(entries, key=lambda entry: entry[1][1]))


def texts_of(code: str) -> Iterator[tuple[str, bool]]:
    """Return all texts in Python source, and whether each is a branch of a condition."""
    inner, branches = set(), set()
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring, perhaps
            inner.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
        elif isinstance(node, ast.FormattedValue):
            inner.add(id(node.format_spec))
        elif isinstance(node, ast.IfExp):
            branches |= {id(node.body), id(node.orelse)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in inner:
            text = template(node)
            if isinstance(node, ast.Constant):  # of str.format
                text = re.sub(r"\{\w*\}", HOLE, text)
            yield text, id(node) in branches
        elif isinstance(node, ast.AnnAssign):  # a field, which a chapter shows as words
            yield ast.unparse(node.target).replace("_", " "), False
        elif isinstance(node, ast.keyword) and node.arg:  # a column, as in table.assign(share=...)
            yield node.arg, False


def template(node: ast.AST) -> str:
    """Return the text of an expression, with HOLE for each part that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return HOLE


def blocks(text: str) -> set[str]:
    """Return what of a text can become a message, without its marks.

    That is the whole, its paragraphs, items, headings and cells of tables, and their sentences.
    """
    lines = text.split("\n")
    parts = {text, *lines, *re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |#|\d+\. |:::|\|))", text)}
    parts |= {cell.strip(" |") for line in lines if "|" in line for cell in line.split("|")}
    parts |= {sentence for part in parts for sentence in sentences(one_line(part))}
    marks = re.compile(r"^\s*(?:[-*] |#+ |\d+\. |:::\S+\n)|\n:::$")
    return {marks.sub("", part).strip() for part in parts}


def noting(texts: list[str]) -> Callable[[str], str]:
    """Return what stands for a translation, changes no text, and appends each to texts."""

    def note(text: str) -> str:
        texts.append(text)
        return text

    return note


# The catalog, and what it makes of a message.


def read_catalog() -> dict[str, str]:
    """Return the catalog, English to Chinese, "" where that is missing or fuzzy.

    Raises ValueError, in one line, where it is damaged.
    """
    try:
        with open(CATALOG, "rb") as file:
            messages = read_po(file, abort_invalid=True)
    except PoFileError as error:
        raise ValueError(f"{CATALOG.name}: {error}: correct the file") from None
    return {m.id: "" if m.fuzzy else m.string for m in messages if m.id}


class Translator:
    """Translates messages by a catalog, and notes what it used and what it lacks.

    What fits one of the texts `source`, with HOLE for what is computed, should be in the catalog.
    `page` is where the next messages stand. `met` are the entries used, in the order of messages,
    with the page of the first one; `missing` are those without Chinese, with page and message.
    """

    def __init__(self, catalog: dict[str, str], source=()):
        self.catalog = {numbered(one_line(text)): "" for text in source if words(text)} | catalog
        self.page, self.met, self.missing = "", {}, {}
        with_holes = [english for english in self.catalog if re.search(r"%\d", english)]
        self.patterns = sorted(map(self._pattern, with_holes), key=lambda p: -p[0])
        self.translate, self.entry = cache(self._translate), cache(self._entry)
        self.known, self.fixed = cache(self._known), cache(self._fixed)

    def _pattern(self, english: str) -> tuple[int, str, re.Pattern, str]:
        """Return how much of an entry is fixed, its longest fixed part, its pattern, and itself."""
        parts = re.split(r"%\d+", english)
        # Each fixed part is taken where it comes first, but for the last one: so a long text is
        # never tried twice.
        middle = "".join(f"(?>(.*?){re.escape(part)})" for part in parts[1:-1])
        pattern = re.compile(f"{re.escape(parts[0])}{middle}(.*){re.escape(parts[-1])}", re.DOTALL)
        return len("".join(parts).replace(" ", "")), max(parts, key=len), pattern, english

    def _translate(self, text: str) -> str:
        """Return a message in Chinese, or as it is where it is a name, a number, or missing."""
        text = text.strip()
        english, caught = self.entry(text)
        if english is None:
            return self._by_parts(text)
        chinese = self.catalog[english]
        keep = re.findall(r"%=(\d+)", chinese)
        caught = [c if str(i) in keep else self.translate(c) for i, c in enumerate(caught, 1)]
        self._meet(english, text)
        if not chinese:
            return text
        return spaced(re.sub(r"%=?(\d+)", lambda hole: caught[int(hole[1]) - 1], chinese))

    def _entry(self, text: str) -> tuple[str | None, tuple]:
        """Return the entry that fits a whole text best, or None, and what its placeholders catch.

        Best is the one by which most letters are fixed, also in what it catches, if all that it
        catches is known. Else a list of known parts is better.
        """
        if text in self.catalog:
            return text, ()
        fits = []
        for fixed, longest, pattern, english in self.patterns:
            match = pattern.fullmatch(text) if longest in text else None
            if match and not self._is_more(text, english, pattern):
                caught = tuple(part.strip() for part in match.groups())
                if text not in caught and all(map(closed, caught)):
                    known = all(map(self.known, caught))
                    letters = fixed + sum(map(self.fixed, caught))
                    fits.append((known, letters, fixed, english, caught))
        known, *_, english, caught = max(fits, default=(False, None, ()))
        if known or not self._splits(text)[0]:
            return english, caught
        return None, ()

    def _is_more(self, text: str, english: str, pattern: re.Pattern) -> bool:
        """Return whether a text is sentences or a list where an entry is less."""
        text = re.sub(r" \[[-\d][^]]*\]", "", text)  # intervals make no list
        if len(sentences(text)) > 1:
            return len(sentences(english)) == 1
        if english[-1] in ".?!:":
            return False
        if text.endswith("."):
            return True
        for joint in ("; ", ": ", ", ", " and "):
            fits = self.known if joint in ("; ", ": ") else pattern.fullmatch
            if joint in text and joint not in english and all(map(fits, text.split(joint))):
                return True
        return False

    def _splits(self, text: str) -> tuple[list, list]:
        """Return the ways to take a text apart: those into known parts only, and the others.

        A way is what joins the parts in Chinese, and the parts.
        """
        ways = [(mark, re.split(rf"{joint}(?![^[\]]*\])", text)) for joint, mark in JOINTS.items()]
        ways = [(chinese, parts) for chinese, parts in ways if len(parts) > 1]
        known = [way for way in ways if all(map(self.known, way[1]))]
        return known, [way for way in ways if way not in known]

    def _fixed(self, text: str) -> int:
        """Return how many letters of a text entries fix."""
        english, caught = self.entry(text)
        if english is None:
            known, others = self._splits(text)
            return max((sum(map(self.fixed, parts)) for _, parts in known + others), default=0)
        return len(re.sub(r"%\d+| ", "", english)) + sum(map(self.fixed, caught))

    def _known(self, text: str) -> bool:
        """Return whether entries cover a text, what they catch, and so on, or all parts of it."""
        english, caught = self.entry(text)
        if not words(text) or (english and all(map(self.known, caught))):
            return True
        return (text.endswith(".") and self.known(text[:-1])) or bool(self._splits(text)[0])

    def _by_parts(self, text: str) -> str:
        """Return a text that no entry fits with its sentences or the parts of a list translated."""
        plain = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)  # without the marks of figures.plain
        if plain != text and self.known(plain):
            return self.translate(plain)
        if text.endswith(".") and self.known(text[:-1]):
            chinese = self.translate(text[:-1])
            return text if chinese == text[:-1] else chinese + "。"
        known, others = self._splits(text)
        for joint, parts in (known + others)[:1]:
            chinese = list(map(self.translate, parts))
            names = joint and re.fullmatch("[^`$]*[A-Za-z][^`$]*", text) and not PROSE.search(text)
            return joint.join(chinese) if names or chinese != parts else text
        if PROSE.search(text):
            self._meet(text, text)
        return text

    def _meet(self, english: str, text: str) -> None:
        self.met.setdefault(english, self.page)
        if not self.catalog.get(english):
            self.missing.setdefault(english, f"{self.page}: {text}")


def closed(text: str) -> bool:
    """Return whether a text is no torn part: it ends no list, and its parentheses are pairs."""
    pair = re.compile(r"\([^()]*\)")
    outside = text
    while pair.search(outside):
        outside = pair.sub("", outside)
    return not re.search("[()]", outside) and not text.endswith((",", ";"))


def spaced(chinese: str) -> str:
    """Return a text with a space between Chinese and Latin, and none about Chinese punctuation."""
    chinese = re.sub(r"(?<=[。；：，、？！]) (?=[^$`])| (?=[。；：，、？！（）「」])", "", chinese)
    han = r"[\u4e00-\u9fff]"
    chinese = re.sub(f"(?<={han}) (?={han})", "", chinese)
    return re.sub(f"(?<={han})(?=[A-Za-z0-9+-])|(?<=[A-Za-z0-9%])(?={han})", " ", chinese)


def check(
    catalog: dict[str, str], source: dict[str, tuple[str, bool]], messages: dict[str, str]
) -> tuple[Translator, dict, dict]:
    """Return a Translator that has met the messages, and what is missing and stale, with the place.

    source is as from `source_texts`, messages are those of a build, with their pages. Missing are
    entries for them, and for both branches of every condition in a chapter. Stale are entries that
    stand in no source text.
    """
    translator = Translator(catalog, source)
    for message, translator.page in messages.items():
        translator.translate(one_line(message))
    missing = translator.missing
    for text, (place, branch) in source.items():
        if branch and words(text) and not catalog.get(numbered(text)):
            parts = [numbered(part) for part in sentences(text) if words(part)]
            missing |= {part: place for part in parts if not catalog.get(part)}
    everything = "\n".join(re.sub(f"{HOLE}+", HOLE, text) for text in source)
    texts = {english: one_line(re.sub(r"%\d+", HOLE, english)) for english in catalog}
    place = str(CATALOG.relative_to(ROOT))
    return translator, missing, {e: place for e, text in texts.items() if text not in everything}


def update(missing: dict[str, str], stale: dict[str, str], met: dict[str, str]) -> None:
    """Write what is missing into the catalog, each behind the one met before; set stale ones apart.

    As gettext does: a text that resembles an older one gets its Chinese as a proposal, "fuzzy", and
    stale entries stand at the end, as comments.
    """
    with open(CATALOG, "rb") as file:
        catalog = read_po(file, locale=LANGUAGE)
    places = {message.id: message.locations for message in catalog if message.id}
    order, last = [english for english in places if english not in stale], 0
    for english in [*(e for e in met if e in order or e in missing), *missing]:
        if english not in order:
            order.insert(last, english)
            places[english] = [((met | missing)[english].partition(":")[0], None)]
        last = order.index(english) + 1
    wanted = Catalog(locale=LANGUAGE)
    for english in order:
        wanted.add(english, locations=places[english])
    catalog.update(wanted)
    for message in catalog:
        message.flags &= {"fuzzy"}  # %1 and {eval} are no formats of Python
    text = io.BytesIO()
    write_po(text, catalog, width=0, omit_header=True)
    write_atomically(CATALOG, lambda file: file.write(HEADER + text.getvalue()))


# The build: messages out of doctrees, Chinese into them.


def write_concrete(folder: Path) -> int:
    """Write the .po of the build at hand for Sphinx below folder; return how many entries lack."""
    messages = built_messages()
    translator, missing, _ = check(read_catalog(), source_texts(), messages)
    catalog = Catalog(locale=LANGUAGE)
    for message in messages:
        chinese = translator.translate(one_line(message))
        if chinese != message:
            catalog.add(message, chinese)
    path = folder / LANGUAGE / "LC_MESSAGES" / "book.po"
    write_atomically(path, lambda file: write_po(file, catalog, width=0))
    return len(missing)


def built_messages() -> dict[str, str]:
    """Return {message: page} of the built English pages, as they are read; ValueError without."""
    if not (build_dir() / ".doctrees").exists():
        raise ValueError(f"there is no built book in {build_dir()}: first run make book")
    messages = dict.fromkeys(THEME, "_config.yml") | settings_texts()
    for name in ORDER:
        path = build_dir() / ".doctrees" / "book" / f"{name}.doctree"
        tree = pickle.loads(path.read_bytes())  # written by this build
        known = extract_messages(tree)
        texts = [text for node, text in known if not isinstance(node, LITERAL_TYPE_NODES)]
        put_in(tree, noting(texts))
        for text in texts:
            messages.setdefault(text, f"{name}.html")
    return messages


def put_in(doctree: nodes.document, translate: Callable[[str], str]) -> None:
    """Translate what Sphinx does not know of a doctree: HTML, such as tables, and the head."""
    for raw in doctree.findall(nodes.raw):
        if raw["format"] == "html":
            raw[:] = [nodes.Text(translate_html(raw.astext(), translate))]
    for value in [node for node in doctree.findall(nodes.inline) if "expression" in node]:
        value[:] = [nodes.Text(translate(value.astext()))]
    heads = [node for node in doctree.findall(nodes.paragraph) if "hw3-head" in node["classes"]]
    for line in [line for head in heads for line in head if isinstance(line, nodes.inline)]:
        text, codes = "", {}
        for part in line:
            if isinstance(part, nodes.Text):
                text += part.astext()
            else:
                name = next(part.findall(nodes.literal)).astext()
                codes[name] = part
                text += f"`{name}`"
        parts = translate(text).split("`")  # every second one is code
        line[:] = [codes[part] if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]


def translate_html(source: str, translate: Callable[[str], str]) -> str:
    """Return HTML with its texts, what is read out, and the _("...") of its scripts translated."""

    def in_plot(value, key: str = ""):
        if isinstance(value, dict):
            return {key: in_plot(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [in_plot(inner, key) for inner in value]
        return translate(value) if value and isinstance(value, str) and key in PLOTTED else value

    def plotted(match: re.Match) -> str:
        return json.dumps(in_plot(json.loads(match[0])), ensure_ascii=False).replace("<", r"\u003c")

    def in_script(match: re.Match) -> str:
        return json.dumps(translate(match[0]), ensure_ascii=False)[1:-1]

    def swap(match: re.Match) -> str:
        if match[0].startswith("<"):
            return IN_SCRIPT.sub(in_script, IN_PLOT.sub(plotted, match[0]))
        text = html.unescape(match[0]).strip()
        chinese = translate(text) if re.search("[A-Za-z]", text) else text
        if chinese == text:
            return match[0]
        return match[0].replace(match[0].strip(), html.escape(chinese))

    return IN_HTML.sub(swap, source)


# The extension of the Chinese build.


class Pairs(SearchLanguage):
    """Search in Chinese without a dictionary: words are found by their pairs of characters."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = """
function splitQuery(query) {
  const pairs = (word) => Array.from({ length: word.length - 1 }, (_, i) => word.slice(i, i + 2));
  const words = query.match(/[\\u4e00-\\u9fff]+|[\\w-]+/g) || [];
  return words.flatMap((word) => (/[\\u4e00-\\u9fff]{2}/.test(word) ? pairs(word) : [word]));
}"""

    def split(self, text: str) -> list[str]:
        """Return the Latin words of a text and the pairs of its Chinese characters."""
        parts = []
        for word in re.findall(r"[\u4e00-\u9fff]+|[\w-]+", text, re.ASCII):
            several = re.match("[\u4e00-\u9fff]{2}", word)
            parts += re.findall("(?=(..))", word) if several else [word]
        return parts


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    languages["zh"] = Pairs

    def put(app, doctree) -> None:
        folders = [str(Path(app.srcdir, folder)) for folder in app.config.locale_dirs]
        chinese = init(folders, app.config.language, "book")[0]
        put_in(doctree, lambda text: chinese.gettext(text) if text else text)

    app.connect("doctree-read", put, priority=900)  # when page.py has put the head in
    return {"parallel_read_safe": True, "parallel_write_safe": True}
