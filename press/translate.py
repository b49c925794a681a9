"""The Traditional Chinese edition: what each message of the built book says in Chinese, and what is
not translated or stale.

A chapter's prose is computed, so a message changes with each build. The catalog CATALOG, an
ordinary .po file, holds it with %1, %2, ... for what is computed: formatted values and conditions
in the source. What a placeholder catches is translated by the same catalog, as a whole, or its
sentences, or the parts of a list; names and numbers stay (%=1 in the Chinese keeps any text).
`write_concrete` makes of the doctrees of the English pages the .po of one build, which Sphinx's own
transform then reads. Sphinx does not look into HTML, such as tables, nor into the pages' heads: for
them this module is an extension of the Chinese build.
"""

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
from sphinx.search import SearchLanguage, languages
from sphinx.util.nodes import LITERAL_TYPE_NODES, extract_messages

from hw3.disk import ROOT, build_dir, write_atomically
from press.book import ORDER, PACKAGES, read_cells, read_config

LANGUAGE = "zh_TW"
CATALOG = ROOT / "book" / "locale" / f"{LANGUAGE}.po"
HEADER = (
    b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: zh_TW\\n"\n\n'
)
HOLE = "\0"  # something computed, in a text of the source
# What joins sentences, and the parts of a computed list, in English and in Chinese.
JOINTS = {
    r"(?<=[.?!]) (?=\S)": "",
    "; ": "；",
    ": ": "：",
    ", ": "、",
    " → ": " → ",
    " – ": "–",
    r" (?=[\d(])": " ",
}
WORD = re.compile(
    r"(?<!\w)[A-Za-z]*[a-z]{2}[A-Za-z]*(?!\w)"
)  # what stands alone and is no name such as CNN, conv1 or n
PROSE = re.compile(
    r"\b[a-z]{2,} [a-z]{2,}\b(?=[^`]*(`[^`]*`[^`]*)*$)"
)  # two words, not in code: no device's or file's name
# In HTML: scripts, of which only _("...") is for readers, texts between tags, and texts that are
# read out.
SAID = ("aria-label", "alt", "title", "placeholder")
SAID += (
    "data-start",
    "data-load",
    "data-likely",
    "data-picture",
    "data-camera",
    "data-broken",
)  # messages of try_photo.html
SPOKEN = "(?:" + "|".join(rf'(?<=\s{name}=")' for name in SAID) + ')[^"]+'
IN_HTML = re.compile(
    rf"<(?:script|style)\b.*?</(?:script|style)>|<!--.*?-->|(?<=>)[^<>]+(?=<)|{SPOKEN}", re.DOTALL
)
# Words of the theme that stand in its templates, where no translation reaches them.
THEME = (
    "Search this book...",
    "Toggle primary sidebar",
    "Toggle secondary sidebar",
    "Toggle hidden content",
    "Color mode",
)
THEME += ("System Settings", "Main", "Page")
IN_SCRIPT = re.compile(r'(?<=\b_\(")[^"]+(?="\))')


def one_line(text: str) -> str:
    """Return text with single spaces, as messages are compared."""
    return " ".join(text.split())


# The source: every text that it can show, with holes for what it computes.


def template(node: ast.AST) -> str:
    """Return the text of an expression, with HOLE for each part that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return HOLE


def texts_of(code: str) -> Iterator[tuple[str, bool]]:
    """Return all texts in Python source, and whether each is a branch of a condition."""
    tree = ast.parse(code)
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}  # docstrings
    inner |= {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    inner |= {id(n.format_spec) for n in ast.walk(tree) if isinstance(n, ast.FormattedValue)}
    branches = {
        id(branch)
        for n in ast.walk(tree)
        if isinstance(n, ast.IfExp)
        for branch in (n.body, n.orelse)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in inner:
            text = template(node)
            yield (
                re.sub(r"\{\w*\}", HOLE, text) if isinstance(node, ast.Constant) else text,
                id(node) in branches,
            )
        elif isinstance(node, ast.AnnAssign):  # a field, which a chapter shows as words
            yield ast.unparse(node.target).replace("_", " "), False
        elif isinstance(node, ast.keyword) and node.arg:  # a column, as in table.assign(share=...)
            yield node.arg, False


def config() -> dict[str, str]:
    """Return the texts of _config.yml that stand on the pages: title and author."""
    read = read_config()
    return {name: read[name] for name in ("title", "author")}


def source_texts() -> dict[str, tuple[str, bool]]:
    """Return all texts of the chapters and of hw3, in one line, with the file that each stands in
    and whether it is a branch.
    """
    found = []
    for path in sorted(ROOT / "book" / f"{name}.ipynb" for name in ORDER):
        for kind, text in read_cells(path):
            pairs = texts_of(text) if kind == "code" else [(text, False)]
            found += [
                (block, path, branch and block == text.strip())
                for text, branch in pairs
                for block in blocks(text)
            ]
    for path in sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        found += [
            (block, path, False)
            for text, _ in texts_of(path.read_text(encoding="utf-8"))
            for block in blocks(text)
        ]
    for path in sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.html")):
        translate_html(
            path.read_text(encoding="utf-8"),
            lambda text, path=path: found.append((text, path, False)) or text,
        )
    for path in sorted((ROOT / "results" / "audit").glob("*.json")):
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', path.read_text(encoding="utf-8"))
        found += [(json.loads(f'"{text}"'), path, False) for text in set(strings)]
    for path in sorted((ROOT / "results" / "fer2013").glob("*/run.json")):
        found += [
            (block, path, False)
            for block in blocks(json.loads(path.read_text(encoding="utf-8")).get("note", ""))
        ]
    found += [(text, ROOT / "_config.yml", False) for text in config().values()]
    found.sort(key=lambda entry: entry[2])  # where a text stands twice, its being a branch counts
    return {one_line(block): (str(path.relative_to(ROOT)), branch) for block, path, branch in found}


def blocks(text: str) -> set[str]:
    """Return what of a text can become a message: the whole, its paragraphs, items, headings and
    cells, without their marks.
    """
    parts = {
        text,
        *re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |#|\d+\. |:::|\|))", text),
        *text.split("\n"),
    }
    parts |= {
        part.strip(" |") for line in text.split("\n") if "|" in line for part in line.split("|")
    }
    parts |= {part for text in list(parts) for part in sentences(one_line(text))}
    parts = {re.sub(r"^\s*(?:[-*] |#+ |\d+\. |:::\S+\n)|\n:::$", "", part) for part in parts}
    return {part.strip() for part in parts}


def words(text: str) -> bool:
    """Return whether there is anything to translate in a text of the source."""
    return bool(WORD.search(text.replace(HOLE, "_")))


def balanced(text: str) -> bool:
    """Return whether each parenthesis in a text has its other one."""
    while (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
        text = shorter
    return not re.search("[()]", text)


def numbered(text: str) -> str:
    """Return a text of the source as the catalog has it: %1, %2, ... in place of its holes."""
    count = iter(range(1, 1000))
    return re.sub(f"{HOLE}+", lambda _: f"%{next(count)}", text)


# The catalog, and what it makes of a message.


def read_catalog() -> dict[str, str]:
    """Return the catalog: English to Chinese, "" where a translation is missing. Raises ValueError
    where it is damaged.
    """
    try:
        with open(CATALOG, "rb") as file:
            return {
                message.id: message.string
                for message in read_po(file, abort_invalid=True)
                if message.id
            }
    except PoFileError as error:
        raise ValueError(f"{CATALOG.name}: {error}: correct the file") from None


class Translator:
    """Translates messages by a catalog (English to Chinese with %1, %2, ...), and notes what it
    used and what it lacks.
    """

    def __init__(self, catalog: dict[str, str], source=()):
        """source are texts with HOLE for what is computed: what fits one of them should be in the
        catalog.
        """
        self.catalog = {numbered(one_line(text)): "" for text in source if words(text)} | catalog
        self.page = ""  # where the messages stand
        self.met, self.missing = (
            {},
            {},
        )  # entries in the order of the messages -> page; those that lack Chinese -> page: message
        self.patterns = sorted(
            map(self._pattern, filter(re.compile(r"%\d").search, self.catalog)), key=lambda p: -p[0]
        )
        self.entry = cache(self._entry)
        self.translate, self.known, self.fixed = (
            cache(self._translate),
            cache(self._known),
            cache(self._fixed),
        )

    def _pattern(self, english: str) -> tuple[int, str, re.Pattern, str]:
        """Return how much of an entry is fixed, its longest fixed part, a pattern that it fits, and
        the entry.
        """
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
            return self._parts(text)
        chinese = self.catalog[english]
        names = re.findall(r"%=(\d+)", chinese)  # stay as they are
        caught = [
            part if str(i) in names else self.translate(part) for i, part in enumerate(caught, 1)
        ]
        self._meet(english, text)
        return (
            spaced(re.sub(r"%=?(\d+)", lambda found: caught[int(found[1]) - 1], chinese))
            if chinese
            else text
        )

    def _entry(self, text: str) -> tuple[str | None, tuple]:
        """Return the entry that fits a whole text best, or None, and what its placeholders catch.

        Best is the one by which most letters are fixed, also in what it catches, if all that it
        catches is known. Else a list of known parts is better.
        """
        if text in self.catalog:
            return text, ()
        fits = []
        for fixed, longest, pattern, english in self.patterns:
            if longest in text and (found := pattern.fullmatch(text)):
                caught = tuple(map(str.strip, found.groups()))
                whole = text not in caught and all(
                    balanced(part) and part[-1:] not in (",", ";") for part in caught
                )
                if whole and not self._is_more(text, english, pattern):
                    fits.append(
                        (
                            all(map(self.known, caught)),
                            fixed + sum(map(self.fixed, caught)),
                            fixed,
                            english,
                            caught,
                        )
                    )
        known, *_, english, caught = max(fits, default=(False, None, ()))
        return (
            (english, caught)
            if known or not any(all(map(self.known, parts)) for _, parts in splits(text))
            else (None, ())
        )

    def _is_more(self, text: str, english: str, pattern: re.Pattern) -> bool:
        """Return whether a text is several sentences where an entry is one, or a sentence or a list
        where it is neither.
        """
        if len(sentences(text)) > 1:
            return len(sentences(english)) == 1
        parts = {
            joint: text.split(joint)
            for joint in ("; ", ": ", ", ", " and ")
            if joint in text and joint not in english
        }
        listed = any(
            all(map(self.known if joint in ("; ", ": ") else pattern.fullmatch, found))
            for joint, found in parts.items()
        )
        return english[-1] not in ".?!:" and (text.endswith(".") or listed)

    def _fixed(self, text: str) -> int:
        """Return how many letters of a text entries fix."""
        english, caught = self.entry(text)
        if english is None:
            return max((sum(map(self.fixed, parts)) for _, parts in splits(text)), default=0)
        return len(re.sub(r"%\d+| ", "", english)) + sum(map(self.fixed, caught))

    def _known(self, text: str) -> bool:
        """Return whether entries cover a text, what they catch, and so on, or all parts of it."""
        english, caught = self.entry(text)
        if not words(text) or (english and all(map(self.known, caught))):
            return True
        return (text.endswith(".") and self.known(text[:-1])) or any(
            all(map(self.known, parts)) for _, parts in splits(text)
        )

    def _parts(self, text: str) -> str:
        """Return a text that no entry fits with its sentences, or the parts of a list,
        translated.
        """
        plain = re.sub(
            r"\\([!-/:-@\[-`{-~])", r"\1", text
        )  # as figures.plain writes what comes from outside
        if plain != text and self.known(plain):
            return self.translate(plain)
        if text.endswith(".") and self.known(text[:-1]):
            said = self.translate(text[:-1])
            return text if said == text[:-1] else said + "。"
        for joint, parts in sorted(
            splits(text), key=lambda split: not all(map(self.known, split[1]))
        ):  # all known, if any
            said = list(map(self.translate, parts))
            return text if said == parts else joint.join(said)
        if PROSE.search(text):
            self._meet(text, text)
        return text

    def _meet(self, english: str, text: str) -> None:
        self.met.setdefault(english, self.page)
        if not self.catalog.get(english):
            self.missing.setdefault(english, f"{self.page}: {text}")


def spaced(chinese: str) -> str:
    """Return a text with a space between Chinese and Latin letters or digits, and none about
    Chinese punctuation or inside.
    """
    chinese = re.sub(r"(?<=[。；：，、？！]) (?=[^$`])| (?=[。；：，、？！（）「」])", "", chinese)  # noqa: RUF001
    chinese = re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", chinese)
    return re.sub(
        r"(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9+-])|(?<=[A-Za-z0-9%])(?=[\u4e00-\u9fff])", " ", chinese
    )


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return re.split(next(iter(JOINTS)), text)


def splits(text: str) -> list[tuple[str, list[str]]]:
    """Return the ways to take a text apart: what joins the parts in Chinese, and the parts."""
    ways = [(chinese, re.split(joint, text)) for joint, chinese in JOINTS.items()]
    return [(chinese, parts) for chinese, parts in ways if len(parts) > 1]


def check(
    catalog: dict[str, str], source: dict[str, tuple[str, bool]], messages: dict[str, str]
) -> tuple[Translator, dict, dict]:
    """Return a Translator that has met the messages, and what is missing and stale: English texts,
    with where they stand.

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
            missing |= {
                numbered(part): place
                for part in sentences(text)
                if words(part) and not catalog.get(numbered(part))
            }
    everything = "\n".join(re.sub(f"{HOLE}+", HOLE, text) for text in source)
    stale = {
        e: str(CATALOG.relative_to(ROOT))
        for e in catalog
        if one_line(re.sub(r"%\d+", HOLE, e)) not in everything
    }
    return translator, missing, stale


# The build: messages out of doctrees, Chinese into them.


def translate_html(source: str, translate: Callable[[str], str]) -> str:
    """Return HTML with its texts, the texts that are read out, and the words _("...") of its
    scripts translated.
    """

    def swap(found: re.Match) -> str:
        text = html.unescape(found[0]).strip()
        if found[0].startswith("<"):
            return IN_SCRIPT.sub(
                lambda word: json.dumps(translate(word[0]), ensure_ascii=False)[1:-1], found[0]
            )
        chinese = translate(text) if re.search("[A-Za-z]", text) else text
        return (
            found[0]
            if chinese == text
            else found[0].replace(found[0].strip(), html.escape(chinese))
        )

    return IN_HTML.sub(swap, source)


def put_in(doctree: nodes.document, translate: Callable[[str], str]) -> None:
    """Translate what Sphinx does not know of a doctree: the texts of HTML, such as tables, and the
    head.
    """
    for raw in doctree.findall(nodes.raw):
        if raw["format"] == "html":
            raw[:] = [nodes.Text(translate_html(raw.astext(), translate))]
    for line in doctree.findall(
        lambda node: isinstance(node, nodes.inline) and "hw3-head" in node.parent["classes"]
    ):
        codes = {
            next(part.findall(nodes.literal)).astext(): part
            for part in line
            if not isinstance(part, nodes.Text)
        }
        names = {id(part): f"`{name}`" for name, part in codes.items()}
        parts = translate("".join(names.get(id(part)) or part.astext() for part in line)).split("`")
        line[:] = [codes[part] if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]


def built_messages() -> dict[str, str]:
    """Return all messages of the built English pages, in reading order, with their pages;
    ValueError where there are none.
    """
    if not (build_dir() / ".doctrees").exists():
        raise ValueError(f"there is no built book in {build_dir()}: first run make book")
    found = dict.fromkeys((*THEME, *config().values()), "_config.yml")
    names = re.findall(r"book/(\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for name in names:
        tree = pickle.loads(
            (build_dir() / ".doctrees" / "book" / f"{name}.doctree").read_bytes()
        )  # written by this build
        known = [
            text
            for node, text in extract_messages(tree)
            if not isinstance(node, LITERAL_TYPE_NODES)
        ]
        put_in(tree, lambda text, known=known: known.append(text) or text)
        found |= {text: f"{name}.html" for text in known if text not in found}
    return found


def write_concrete(folder: Path) -> int:
    """Write the .po of the build at hand for Sphinx below folder; return how many entries are
    missing.
    """
    messages = built_messages()
    translator, missing, _ = check(read_catalog(), source_texts(), messages)
    catalog = Catalog(locale=LANGUAGE)
    for message in messages:
        if (chinese := translator.translate(one_line(message))) != message:
            catalog.add(message, chinese)
    write_atomically(
        folder / LANGUAGE / "LC_MESSAGES" / "book.po", lambda file: write_po(file, catalog, width=0)
    )
    return len(missing)


def update(missing: dict[str, str], met: dict[str, str]) -> None:
    """Write missing messages as empty entries into the catalog, each behind the entry that comes
    before it in the pages.
    """
    known = read_catalog()
    order, place = list(known), 0
    for english in [
        *(english for english in met if english in known or english in missing),
        *missing,
    ]:
        if english not in order:
            order.insert(place, english)
        place = order.index(english) + 1
    write_catalog({english: known.get(english, "") for english in order}, met | missing)


def write_catalog(entries: dict[str, str], where: dict[str, str]) -> None:
    """Write entries, English to Chinese, into the catalog; where are pages or files in which some
    of them stand.
    """
    catalog = Catalog(locale=LANGUAGE)
    for english, chinese in entries.items():
        catalog.add(
            english,
            chinese,
            locations=[(where[english].partition(":")[0], None)] if english in where else [],
        )
    text = io.BytesIO()
    write_po(text, catalog, width=0, omit_header=True)
    write_atomically(CATALOG, lambda file: file.write(HEADER + text.getvalue()))


# The extension of the Chinese build.


class Pairs(SearchLanguage):
    """Search in Chinese without a dictionary: what is written together is found by its pairs of
    characters.
    """

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
        found = re.findall(r"[\u4e00-\u9fff]+|[\w-]+", text, re.ASCII)
        return [
            part
            for word in found
            for part in (
                re.findall("(?=(..))", word) if re.match("[\u4e00-\u9fff]{2}", word) else [word]
            )
        ]


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    from sphinx.locale import init

    languages["zh"] = Pairs

    def put(app, doctree) -> None:
        folders = [str(Path(app.srcdir, folder)) for folder in app.config.locale_dirs]
        chinese = init(folders, app.config.language, "book")[0]
        put_in(doctree, lambda text: chinese.gettext(text) if text else text)

    app.connect("doctree-read", put, priority=900)  # when page.py has put the head in
    return {"parallel_read_safe": True, "parallel_write_safe": True}
