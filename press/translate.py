"""The Traditional Chinese edition: what the catalog, an ordinary .po file, says of each text.

Sphinx translates paragraphs, headings and items by itself, and this extension HTML, labels and
values: their entries have %1, %2, ... for numbers; without one, a text is looked up part by part.
"""

import html
import io
import json
import pickle
import re
from collections.abc import Callable
from functools import partial, reduce

from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po, write_po
from docutils import nodes
from sphinx.search import SearchLanguage, languages
from sphinx.util.nodes import extract_messages

from hw3.disk import ROOT, build_dir, write_atomically
from press.chapters import ORDER, PACKAGES, read_cells, settings_texts

CATALOG = ROOT / "book" / "locale" / "zh_TW.po"
NUMBER = re.compile(r"(?<![\w.%])[+-]?\d+(?:[.,]\d+)*%?(?!\w)")
# What stands between the parts of a text, in English and in Chinese; nothing within [...] does.
JOINTS = {r"(?<=[.?!]) (?=\S)": "", r"\.$": "。", "; ": "；", ": ": "：", ", ": "、", " → ": " → "}
JOINTS |= {" / ": " / ", " – ": "–", "(?<=[a-z])/(?=[A-Z])": "／", r" (?=\(?\d\S*$)": " "}
JOINTS |= {"(?<=^recipe) |(?<=^profile) ": " "}
# A word to translate stands alone and is no name such as CNN, conv1 or n, no formula, no code.
WORD = re.compile(r"(?<!\w)[A-Za-z]*[a-z]{2}[A-Za-z]*(?!\w)")
NAME = re.compile(r"(\{[\w:]+\})?`[^`]*`|\$[^$]*\$|%\d+")
# In HTML: texts, what is read out, and messages for scripts. Of plotly's JSON: words, no options.
IN_HTML = r"(?s)<(script|style|code|pre)\b.*?</\1|<!--.*?--(?=>)|>\s*([^<>]+?)(?=\s*<)"
IN_HTML += r'|\s(?:aria-label|alt|title|placeholder|data-\w+(?=="[A-Z{][^"]* ))='
IN_HTML += r'"\s*([^"]+?)(?=\s*")'
IN_PLOT = r'("(?:hovertemplate|name|text)":|[\[,](?!"(?:#|rgba|send|data-)))("[^"]+")(?=[\],}])'
THEME = ["Search this book...", "Toggle primary sidebar", "Toggle secondary sidebar"]
THEME += ["Toggle hidden content", "Color mode", "System Settings", "Main", "Page"]  # in templates


def read_catalog() -> dict[str, str]:
    """Return the catalog, English to Chinese, "" for none or a fuzzy one; ValueError if damaged."""
    try:
        messages = read_po(io.BytesIO(CATALOG.read_bytes()), abort_invalid=True)
    except PoFileError as error:
        raise ValueError(f"{CATALOG.name}: {error}: correct the file") from None
    return {m.id: "" if m.fuzzy else m.string for m in messages if m.id}


def translate(text: str, catalog: dict[str, str], asked: list[str]) -> str:
    """Return a text in Chinese, what has no entry as it is; append the keys looked up to asked."""
    if not WORD.search(NAME.sub("_", text)):
        return text
    text = " ".join(text.split())
    numbers = {f"%{i}": number for i, number in enumerate(NUMBER.findall(text), 1)}
    key = text if text in catalog else reduce(lambda k, p: NUMBER.sub(p, k, 1), numbers, text)
    for joint, chinese in JOINTS.items() if key not in catalog else ():
        parts = re.split(rf"{joint}(?![^[\]]*\])", text)
        if len(parts) > 1:
            return chinese.join(translate(part, catalog, asked) for part in parts)
    asked.append(key)
    return re.sub(r"%\d+", lambda m: numbers.get(m[0], m[0]), catalog.get(key) or key)


def source() -> str:
    """Return in one line what the source holds, strings over several lines as one."""
    texts = [text for name in ORDER for _, text, _ in read_cells(ROOT / "book" / f"{name}.ipynb")]
    paths = [path for name in (*PACKAGES, "results") for path in (ROOT / name).rglob("*.*")]
    texts += [p.read_text("utf-8") for p in paths if p.suffix in (".py", ".html", ".json")]
    return " ".join(re.sub(r'"\s+f?"', "", "\n".join([*texts, *settings_texts()])).split())


def check(catalog: dict[str, str]) -> tuple[dict, dict]:
    """Return, each with its place, the built pages' keys without Chinese, and the stale entries.

    These no page asks for, nor has the source each of their parts. ValueError: no book is built.
    """
    if not (build_dir() / ".doctrees").exists():
        raise ValueError(f"there is no built book in {build_dir()}: first run make book")
    everything, asked = source(), dict.fromkeys(THEME, "_config.yml") | settings_texts()
    for name in ORDER:
        path = build_dir() / ".doctrees" / "book" / f"{name}.doctree"
        tree = pickle.loads(path.read_bytes())  # written by this build
        other = nodes.image, nodes.math_block  # put_in sees to labels, nobody to formulas
        keys = [text for node, text in extract_messages(tree) if not isinstance(node, other)]
        put_in(tree, partial(translate, catalog=catalog, asked=keys))
        asked = dict.fromkeys(keys, f"{name}.html") | asked
    bare = {key: NAME.sub("_", key) for key in asked if not catalog.get(key)}
    prose = [k for k, b in bare.items() if re.search("[a-z]{2} [a-z]{2}", b) or k in everything]
    missing = {key: asked[key] for key in prose if WORD.search(bare[key])}
    parts = {key: re.split(r"%\d+", key) for key in catalog if key not in asked}
    stale = [key for key, of in parts.items() if any(p.strip() not in everything for p in of)]
    return missing, dict.fromkeys(stale, str(CATALOG.relative_to(ROOT)))


def update(missing: dict[str, str], stale: dict[str, str]) -> None:
    """Put what is missing into the catalog, "fuzzy" where it is like another; comment out stale."""
    old = CATALOG.read_bytes()
    catalog, wanted, new = read_po(io.BytesIO(old), "zh_TW"), Catalog("zh_TW"), io.BytesIO()
    places = {m.id: m.locations for m in catalog if m.id and m.id not in stale}
    for key in places | missing:
        wanted.add(key, locations=places.get(key, [(missing.get(key), None)]))
    catalog.update(wanted)
    for message in catalog:
        message.flags &= {"fuzzy"}  # %1 and {eval} are no formats of Python
    write_po(new, catalog, width=0, omit_header=True)
    write_atomically(CATALOG, lambda f: f.write(old[: old.index(b"\n\n") + 2] + new.getvalue()))


def put_in(doctree: nodes.document, translate: Callable[[str], str]) -> None:
    """Translate what Sphinx does not know of a doctree: HTML, such as tables, labels and values."""
    for node in doctree.findall(nodes.Element):
        if isinstance(node, nodes.raw) and node["format"] == "html":
            node[:] = [nodes.Text(translate_html(node.astext(), translate))]
        elif "expression" in node:
            node[:] = [nodes.Text(translate(node.astext()))]
        for label in {"alt", "caption"} & node.attributes.keys():
            node[label] = translate(node[label] or "")


def translate_html(source: str, translate: Callable[[str], str]) -> str:
    """Return HTML with its texts, what is read out, and the words of plotly figures translated."""

    def in_plot(match: re.Match) -> str:
        return match[1] + json.dumps(translate(json.loads(match[2]))).replace("<", r"\u003c")

    def swap(match: re.Match) -> str:
        if "Plotly.newPlot(" in match[0]:
            return re.sub(IN_PLOT, in_plot, match[0])
        text = match[2] or match[3] or ""
        return match[0].removesuffix(text) + html.escape(translate(html.unescape(text)))

    return re.sub(IN_HTML, swap, source)


class Pairs(SearchLanguage):
    """Search in Chinese without a dictionary: words are found by their pairs of characters."""

    lang, language_name = "zh", "Chinese"
    _word_re = re.compile(r"(?=([一-鿿]{2}|(?<![一-鿿])[一-鿿]|(?<![\w-])[\w-]+))", re.ASCII)
    js_splitter_code = f"var splitQuery=q => [...q.matchAll(/{_word_re.pattern}/g)].map(m => m[1])"


def setup(app) -> dict:
    """Register the extension with Sphinx: it reads a page when page.py has put the head in."""
    languages["zh"], chinese = Pairs, partial(translate, catalog=read_catalog(), asked=[])
    app.connect("doctree-read", lambda app, doctree: put_in(doctree, chinese), priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
