"""The Traditional Chinese edition: its catalog, and what that says of each text of the book.

Sphinx translates paragraphs, headings and items by itself, as it reads the chapters. It does not
look into HTML, such as tables, nor at the pages' heads and values: for them this module is an
extension of the Chinese build. The catalog CATALOG is an ordinary .po file. A text that code puts
together, as a figure's label, has an entry with %1, %2, ... for its parts, which are translated by
the same catalog (%=1 in the Chinese keeps one).
"""

# ruff: noqa: RUF001 (Chinese has its own parentheses and colons)
import ast
import html
import io
import json
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
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
# What joins the parts of a text that no entry fits, in English and in Chinese; none within [...].
JOINTS = {r"(?<=[.?!]) (?=\S)": "", "; ": "；", ": ": "：", ", ": "、", " → ": " → ", " – ": "–"}
JOINTS |= {"(?<=[a-z])/(?=[A-Z])": "／", r" (?=[\d(])": " "}
NAMES = re.compile("[^`$]*[A-Za-z][^`$]*")  # no code, no formula
# A word to translate stands alone and is no name such as CNN, conv1 or n.
WORD = re.compile(r"(?<!\w)[A-Za-z]*[a-z]{2}[A-Za-z]*(?!\w)")
# Two words, not in code: no device's or file's name.
PROSE = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b(?=[^`]*(`[^`]*`[^`]*)*$)")
# In HTML: scripts, of which only _("...") is for readers, texts between tags, and attributes that
# are read out, the last ones messages of try_photo.html. Of plotly's scripts these keys and lists
# of words are for readers, but for colors, names of attributes, and a button that is taken away.
SPOKEN = ["aria-label", "alt", "title", "placeholder", "data-start", "data-load", "data-likely"]
SPOKEN += ["data-picture", "data-camera", "data-broken"]
SPOKEN = "(?:" + "|".join(rf'(?<=\s{name}=")' for name in SPOKEN) + ')[^"]+'
NO_TEXT = r"<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->"
IN_HTML = re.compile(rf"{NO_TEXT}|(?<=>)[^<>]+(?=<)|{SPOKEN}", re.DOTALL)
IN_SCRIPT = re.compile(r'(?<=\b_\(")[^"]+(?="\))')
PLOTTED = "|".join(rf'(?<="{key}":")' for key in ("hovertemplate", "name", "text"))
IN_PLOT = re.compile(rf'(?:{PLOTTED}|(?<=[\[,]")(?!#|rgba|send|data-))[^"]+(?="[\],}}])')
# Words of the theme that stand in its templates, where no translation reaches them.
THEME = ["Search this book...", "Toggle primary sidebar", "Toggle secondary sidebar"]
THEME += ["Toggle hidden content", "Color mode", "System Settings", "Main", "Page"]


def one_line(text: str) -> str:
    """Return text with single spaces, as messages are compared."""
    return " ".join(text.split())


def words(text: str) -> bool:
    """Return whether there is anything to translate in a text, beside values, formulas and code."""
    return bool(WORD.search(re.sub(r"\{\w+\}`[^`]*`|`[^`]*`|\$[^$]*\$|%\d", "_", text)))


def source_texts() -> tuple[dict[str, str], str]:
    """Return the texts of code and settings, each with its file, and all Markdown, in one line."""
    found, markdown = settings_texts(), []
    for path in sorted(ROOT / "book" / f"{name}.ipynb" for name in ORDER):
        cells = read_cells(path)
        markdown += [source for kind, source in cells if kind == "markdown"]
        for code in (source for kind, source in cells if kind == "code"):
            found |= dict.fromkeys(texts_of(code), f"book/{path.name}")
    for path in sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.*")):
        if path.suffix == ".py":
            found |= dict.fromkeys(texts_of(path.read_text("utf-8")), str(path.relative_to(ROOT)))
        elif path.suffix == ".html":
            texts = []
            translate_html(path.read_text("utf-8"), noting(texts))
            found |= dict.fromkeys(map(one_line, texts), str(path.relative_to(ROOT)))
    for path in sorted((ROOT / "results").glob("*/**/*.json")):
        strings = re.findall(r'"(?:[^"\\]|\\.)*"', path.read_text("utf-8"))
        found |= dict.fromkeys(map(json.loads, strings), str(path.relative_to(ROOT)))
    return found, one_line("\n".join(markdown))


def texts_of(code: str) -> Iterator[str]:
    """Return the texts in Python source: strings, and names that tables show as words."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield one_line(node.value)
        elif isinstance(node, ast.AnnAssign):  # a field
            yield ast.unparse(node.target).replace("_", " ")
        elif isinstance(node, ast.keyword) and node.arg:  # a column, as in table.assign(share=...)
            yield node.arg


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
    """Translates texts by a catalog, and notes what it met and what is missing, with the page.

    A text is looked up as a whole. One of Markdown must be there. Else the entry with placeholders
    that fits and has most letters of its own says it, and else its parts are looked up.
    """

    def __init__(self, catalog: dict[str, str], source: dict[str, str], markdown: str):
        self.catalog, self.source, self.markdown = catalog, source, markdown
        self.page, self.met, self.missing = "", {}, {}
        entries = sorted(catalog, key=lambda english: -len(re.sub(r"%\d+", "", english)))
        self.patterns = {e: self.pattern(e) for e in entries if re.search(r"%\d", e)}
        self.attempt = cache(self._attempt)

    def pattern(self, english: str) -> re.Pattern:
        """Return what fits an entry: its fixed parts, each where it comes first, but the last."""
        first, *fixed, last = map(re.escape, re.split(r"%\d+", english))
        return re.compile(f"{first}{''.join(f'(?>(.+?){part})' for part in fixed)}(.+){last}")

    def translate(self, text: str) -> str:
        """Return a text in Chinese, or as it is where it is a name, a number, or missing."""
        chinese, known = self.attempt(text)
        if not known:
            self.missing.setdefault(one_line(text), self.page)
        return chinese

    def _attempt(self, text: str) -> tuple[str, bool]:
        """Return a text in Chinese, or as it is, and whether nothing of it is missing."""
        text = one_line(text)
        if text in self.catalog:
            self.met.setdefault(text, self.page)
            return self.catalog[text] or text, bool(self.catalog[text])
        if words(text) and (text in self.source or text in self.markdown):
            return text, False
        for english, pattern in self.patterns.items():
            match = None if listed(text, pattern) else pattern.fullmatch(text)
            made = self.all_known(match.groups()) if match else None
            if made:
                self.met.setdefault(english, self.page)
                chinese = self.catalog[english]
                for i, part in enumerate(match.groups(), 1):
                    chinese = chinese.replace(f"%={i}", part).replace(f"%{i}", made[i - 1])
                return spaced(chinese), True
        for joint, chinese in JOINTS.items():
            parts = re.split(rf"{joint}(?![^[\]]*\])", text)
            made = self.all_known(parts) if len(parts) > 1 else parts
            if made and (made != parts or (len(made) > 1 and NAMES.fullmatch(text))):
                return chinese.join(made), True
        return text, not PROSE.search(text)

    def all_known(self, parts: Sequence[str]) -> list[str] | None:
        """Return parts of a text in Chinese, or None where one is missing."""
        made = [self.attempt(part) for part in parts]
        return [chinese for chinese, _ in made] if all(known for _, known in made) else None


def listed(text: str, pattern: re.Pattern) -> bool:
    """Return whether a text is a list, each part of which fits a pattern."""
    lists = (text.split(joint) for joint in ("; ", ", ") if joint in text)
    return any(all(map(pattern.fullmatch, parts)) for parts in lists)


def spaced(chinese: str) -> str:
    """Return a text with a space between Chinese and Latin, and none about Chinese punctuation."""
    chinese = re.sub(r"(?<=[。；：，、？！]) (?=[^$`])| (?=[。；：，、？！（）「」])", "", chinese)
    han = r"[\u4e00-\u9fff]"
    chinese = re.sub(f"(?<={han}) (?={han})", "", chinese)
    return re.sub(f"(?<={han})(?=[A-Za-z0-9+-])|(?<=[A-Za-z0-9%])(?={han})", " ", chinese)


def check(
    catalog: dict[str, str], source: dict[str, str], markdown: str, messages: dict[str, str]
) -> tuple[Translator, dict]:
    """Return a Translator that has met the messages of a build, and the stale entries' place.

    Stale are entries of which a part, between placeholders, stands in no text of the source.
    """
    translator = Translator(catalog, source, markdown)
    for message, translator.page in messages.items():
        translator.translate(message)
    everything = "\n".join([markdown, *source])
    parts = {english: re.split(r"%\d+", english) for english in catalog}
    stale = [e for e, fixed in parts.items() if any(p.strip() not in everything for p in fixed)]
    return translator, dict.fromkeys(stale, str(CATALOG.relative_to(ROOT)))


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
    translator, _ = check(read_catalog(), *source_texts(), messages)
    catalog = Catalog(locale=LANGUAGE)
    for message in messages:
        chinese = translator.translate(message)
        if chinese != message:
            catalog.add(message, chinese)
    path = folder / LANGUAGE / "LC_MESSAGES" / "book.po"
    write_atomically(path, lambda file: write_po(file, catalog, width=0))
    return len(translator.missing)


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

    def in_script(match: re.Match) -> str:
        chinese = json.dumps(translate(json.loads(f'"{match[0]}"')), ensure_ascii=False)
        return chinese[1:-1].replace("<", r"\u003c")

    def swap(match: re.Match) -> str:
        if match[0].startswith("<"):
            marked = IN_PLOT if "Plotly.newPlot(" in match[0] else IN_SCRIPT
            return marked.sub(in_script, match[0])
        text = html.unescape(match[0]).strip()
        new = translate(text) if re.search("[A-Za-z]", text) else text
        return match[0] if new == text else match[0].replace(match[0].strip(), html.escape(new))

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
