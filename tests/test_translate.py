"""The Chinese edition: how messages find their translations, what the check finds, and that both
editions have the same pages.
"""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from sphinx.addnodes import toctree

from hw3 import disk
from press import build, chapters, page, translate
from press.translate import Pairs, check, translate_html

CATALOG = {
    "Happy": "高興",
    "Sad": "難過",
    "mirrored": "鏡射",
    "recorded": "存檔",
    "your own": "你的",
    "taken for Sad": "認成難過",
    "Of %1 images %2 show Sad.": "難過：%1 張影像中有 %2 張。",
    "%1 of %2 images": "%2 張影像中的 %1 張",
    "Before": "之前",
    "After.": "之後。",
    "It stands.": "成立。",
    "recipe": "配方",
    "profile": "設定",
    "%1 (%2 to %3)": "%1（%2 至 %3）",
    "7 images": "七張影像",
    "%1 images": "%1 張影像",
    "%{y} at epoch %{x}": "第 %{x} 個 epoch 為 %{y}",
}


def chinese(english, catalog=CATALOG):
    """Return a text in Chinese, and the keys that were looked up."""
    asked = []
    return translate.translate(english, catalog, asked), asked


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        ("Happy", "高興"),
        ("Of 1,234 images 12.3% show Sad.", "難過：1,234 張影像中有 12.3% 張。"),
        ("5 of 7,000 images", "7,000 張影像中的 5 張"),  # in another order
        ("7 images", "七張影像"),  # as it is before any number
        ("Happy, taken for Sad (49%)", "高興、認成難過 (49%)"),
        ("Before: Sad, taken for Sad (1%). After.", "之前：難過、認成難過 (1%)。之後。"),
        (
            "Before: recorded: mirrored, Happy; your own: Sad. After.",
            "之前：存檔：鏡射、高興；你的：難過。之後。",
        ),  # a list of lists
        ("It stands. Of 5 images 2 show Sad.", "成立。難過：5 張影像中有 2 張。"),  # two sentences
        ("Sad – Happy", "難過–高興"),
        ("Sad → Happy 12%, Happy → Sad 9% (2)", "難過 → 高興 12%、高興 → 難過 9% (2)"),
        ("Sad (1%); n = 400", "難過 (1%)；n = 400"),  # no interval's n
        ("CNN: 72.6% [71.1, 74.0; n = 3,589]", "CNN: 72.6% [71.1, 74.0; n = 3,589]"),
        ("Sad: 72.6% [71.1, 74.0; n = 3,589]", "難過：72.6% [71.1, 74.0; n = 3,589]"),
        ("python 3.11, keras 3.15", "python 3.11、keras 3.15"),  # a list of names
        ("modern-cnn, modern-dnn-seed1: Sad", "modern-cnn、modern-dnn-seed1：難過"),
        ("`python -m hw3, make`", "`python -m hw3, make`"),  # code and formulas stay
        ("$a, b$", "$a, b$"),
        ("53.7, 53.6", "53.7, 53.6"),  # numbers stay
        ("Sad/Happy", "難過／高興"),
        ("1.5% (1.0% to 2.0%)", "1.5%（1.0% 至 2.0%）"),
        ("recipe modern, profile cpu / full", "配方 modern、設定 cpu / full"),
        ("%{y} at epoch %{x}", "第 %{x} 個 epoch 為 %{y}"),  # plotly's numbers are no numbers yet
        ("CPU Intel(R) Xeon(R) Processor @ 2.20GHz", "CPU Intel(R) Xeon(R) Processor @ 2.20GHz"),
        ("FER2013", "FER2013"),
    ],
)
def test_message_finds_its_translation(english, expected):
    assert chinese(english)[0] == expected


def test_keys_are_whole_texts_with_places_for_numbers_and_else_their_parts():
    assert chinese("Of 1,234 images 12.3% show Sad.")[1] == ["Of %1 images %2 show Sad."]
    assert chinese("Sad (2), more of 3 kinds")[1] == ["Sad", "more of %1 kinds"]
    assert chinese("53.7 [1, 2], `make book`, CNN")[1] == [], "nothing to translate"


@pytest.fixture
def check_of(tmp_path, monkeypatch):
    """Return a function that checks a catalog against a book of one page of some nodes."""

    def checked(catalog, *page, source=""):
        folder = tmp_path / "_build" / ".doctrees" / "book"
        folder.mkdir(parents=True, exist_ok=True)
        tree = new_document("x")
        tree += page
        (folder / "x.doctree").write_bytes(pickle.dumps(tree))
        monkeypatch.setattr(translate, "source", lambda: source)
        monkeypatch.setattr(translate, "ORDER", ["x"])
        monkeypatch.setattr(translate, "settings_texts", dict)
        monkeypatch.setattr(translate, "THEME", [])
        monkeypatch.setenv("HW3_BUILD", str(tmp_path / "_build"))
        return check(catalog)

    return checked


def paragraph(text):
    """Return a paragraph as Sphinx finds it in Markdown."""
    node = nodes.paragraph(text, text)
    node.source, node.line = "x.md", 1
    return node


def cell(text):
    """Return a table's cell, as a page's HTML."""
    return nodes.raw("", f"<table><td>{text}</td></table>", format="html")


def test_a_value_alone_needs_no_translation(check_of):
    texts = "{eval}`happy`", "{eval}`sad` of faces"
    missing, _ = check_of({}, *map(paragraph, texts), source=" ".join(texts))
    assert missing == {"{eval}`sad` of faces": "x.html"}


def test_a_text_of_markdown_is_in_the_catalog_as_it_stands(check_of):
    text = "In 5 of 7 faces, and more."
    catalog = {"and more": "還有", "In %1 of %2 faces": "%2 張臉中的 %1 張"}
    assert check_of(catalog, paragraph(text), source=text)[0] == {text: "x.html"}, "not by parts"
    assert check_of(catalog, cell(text), source=text)[0] == {}


def test_source_holds_strings_over_several_lines_and_texts_of_pages_and_results(
    tmp_path, monkeypatch
):
    (tmp_path / "hw3").mkdir()
    (tmp_path / "results" / "votes").mkdir(parents=True)
    code = 'said = (\n    f"Of {n:,} images "\n    "all are known."\n)\ntable.assign(share=1)\n'
    (tmp_path / "hw3" / "a.py").write_text(code)
    (tmp_path / "hw3" / "b.html").write_text("<p>One\n  two</p>")
    (tmp_path / "results" / "votes" / "c.json").write_text('{"note": "so it is"}')
    monkeypatch.setattr(translate, "ROOT", tmp_path)
    monkeypatch.setattr(translate, "read_cells", lambda path: [("markdown", f"## {path.stem}", [])])
    found = translate.source()
    for text in (
        " images all are known.",
        "share",
        "One two",
        "so it is",
        "## cnn",
        "The homework",
    ):
        assert text in found


def test_check_is_quiet_where_all_is_translated(check_of):
    catalog = {"%1 faces show Happy": "%1 張臉顯示高興", "Happy": "高興"}
    assert check_of(catalog, cell("7 faces show Happy"), cell("Happy")) == ({}, {})


def test_check_names_what_is_missing_and_where(check_of):
    missing, _ = check_of({"Happy": "高興"}, cell("Happy, taken for Sad in 12 faces"))
    assert missing == {"taken for Sad in %1 faces": "x.html"}
    for catalog in ({"Happy": ""}, {}):  # an empty entry is no translation
        missing, _ = check_of(catalog, cell("Happy"), source="Happy")
        assert missing == {"Happy": "x.html"}, "a word of the source"
    missing, _ = check_of({}, cell("what no source text has"), cell("FER2013"), cell("Xeon"))
    assert list(missing) == ["what no source text has"], "else a word is a name"


def test_check_names_an_entry_that_no_source_text_accounts_for(check_of):
    catalog = {"Happy": "高興", "%1 taken as %2": "%1當成%2", "taken": "取", "%1 taken for": "認"}
    _, stale = check_of(catalog | {"asked": "問"}, cell("asked"), source="Happy taken for Sad")
    assert stale == {"%1 taken as %2": "book/locale/zh_TW.po"}


def test_labels_of_pictures_and_values_are_translated():
    tree, value = new_document("x"), nodes.inline("", "Sad, mirrored", expression="answer")
    tree += nodes.image(alt="Before: Sad 12%."), value
    translate.put_in(tree, lambda text: chinese(text)[0])
    assert (tree[0]["alt"], tree[1].astext()) == ("之前：難過 12%。", "難過、鏡射")


def test_html_is_translated_between_tags_and_escaped():
    words = {"this & b": "甲 & <乙>", "title": "題", "Sheet": '"表"', "{n} in": "{n} 中"}
    words |= {"Loading it:": "載入中："}
    source = (
        '<table class="this & b"><th> this &amp; b </th>\n<td>1,234</td> <td>\xa0</td></table>'
        '<p data-say="Loading it: " data-in="{n} in" data-way="Sheet" class="Sheet"></p>'
        '<img alt="Sheet" src="Sheet"><script>const a = "Sheet";</script><code>Sheet</code> Sheet '
        '<pre>Sheet\n  Sheet</pre><i title="title">other words</i>'
        '<style>b::after {content: "a & b"}</style><!-- Sheet -->Sheet<br>'
    )
    expected = (
        '<table class="this & b"><th> 甲 &amp; &lt;乙&gt; </th>\n<td>1,234</td> <td>\xa0</td>'
        "</table>"
        '<p data-say="載入中： " data-in="{n} 中" data-way="Sheet" class="Sheet"></p>'
        '<img alt="&quot;表&quot;" src="Sheet"><script>const a = "Sheet";</script>'
        '<code>Sheet</code> &quot;表&quot; <pre>Sheet\n  Sheet</pre><i title="題">other words</i>'
        '<style>b::after {content: "a & b"}</style><!-- Sheet -->&quot;表&quot;<br>'
    )
    assert translate_html(source, lambda text: words.get(text, text)) == expected


def test_words_of_a_plotly_figure_are_translated_and_its_options_stay():
    hover = "true %{y}:<br>%{customdata}"
    names = {"Sad": "難過", "text": "文字", "solid": "實線", hover: "%{y}：<br>%{customdata}"}
    matrix = go.Heatmap(z=[[0.5]], x=["Sad"], y=["Sad"], hoverinfo="text", hovertemplate=hover)
    figure = go.Figure(matrix)
    figure.add_scatter(x=[1], y=[2], name="Sad", line_dash="solid")
    figure.update_layout(title_text="Sad")
    before = figure.to_html(full_html=False, include_plotlyjs=False)
    after = translate_html(before, lambda text: chinese(text, names)[0])
    read = json.JSONDecoder().raw_decode
    drawn, end = read(after, after.index("[{"))
    layout, _ = read(after, after.index("{", end))
    assert (drawn[0]["x"], drawn[0]["y"], drawn[0]["hoverinfo"]) == (["難過"], ["難過"], "text")
    assert drawn[0]["hovertemplate"] == "%{y}：<br>%{customdata}"
    assert (drawn[1]["name"], drawn[1]["line"]["dash"], drawn[1]["x"]) == ("難過", "solid", [1])
    assert layout["title"]["text"] == "難過"
    assert "<br>" not in after, "escaped, as before"


def test_the_head_of_a_page_is_translated():
    own = {name: ["x"] for name in ("data", "profile", "device", "date")}
    line = page.head({"recorded": own, "own": own}, "cnn.ipynb", space="")
    words = {"Recorded": "存檔", "This build": "本次建置", "profile": "設定", "there.": "即可。"}
    words |= {"Brackets hold %1 intervals.": "方括號：%1。", ", then choose": "，再點選"}
    words |= {"Open in JupyterLab: run": "在 JupyterLab 中：執行"}
    made = BeautifulSoup(translate_html(line, lambda text: chinese(text, words)[0]), "html.parser")
    assert made.text == (
        "存檔：x、設定 x、x、x。本次建置：x、設定 x、x、x。方括號：95%。"
        "在 JupyterLab 中：執行 make lab，再點選 cnn.ipynb 即可。"
    )
    assert [code.text for code in made("code")] == ["make lab", "cnn.ipynb"]


def test_title_author_and_captions_are_of_the_settings_and_translated(monkeypatch):
    texts = chapters.settings_texts()
    assert set(texts.values()) == {"_config.yml", "_toc.yml"}
    assert all(text in translate.source() for text in texts)
    title, author, *captions = texts
    (parts,) = chapters.read_settings("_toc.yml", "parts")
    assert [part["caption"] for part in parts] == captions
    for words in ({}, dict(zip(texts, "甲乙丙丁", strict=True))):
        monkeypatch.setattr(translate, "read_catalog", lambda words=words: words)
        sphinx = build.chinese()
        said = [words.get(text, text) for text in (title, author)]
        assert [sphinx["html_title"], sphinx["author"]] == said
        tree = new_document("index")
        tree += [toctree(caption=caption) for caption in captions]
        translate.put_in(tree, lambda text, words=words: words.get(text, text))
        assert [part["caption"] for part in tree] == [words.get(t, t) for t in captions]


def test_search_splits_chinese_into_pairs():
    assert Pairs({}).split("CNN 的混淆矩陣 x_1") == ["CNN", "的混", "混淆", "淆矩", "矩陣", "x_1"]
    if not shutil.which("node"):
        pytest.skip("node is not installed, so the page's half of the search cannot be run")
    script = (
        Pairs.js_splitter_code
        + "\nconsole.log(JSON.stringify(splitQuery('CNN 的混淆矩陣 x_1 率')));"
    )
    answer = subprocess.run(
        ["node", "-e", script], capture_output=True, text=True, check=True
    ).stdout
    assert answer.strip() == '["CNN","的混","混淆","淆矩","矩陣","x_1","率"]'


def test_update_puts_missing_entries_at_the_end_with_proposals(tmp_path, monkeypatch):
    monkeypatch.setattr(translate, "CATALOG", tmp_path / "zh_TW.po")
    lines = ('msgid ""', 'msgstr ""', '"Content-Type: text/plain; charset=utf-8\\n"', "")
    lines += ("#: x.html", 'msgid "first"', 'msgstr "一"', "", 'msgid "nowhere"', 'msgstr "無"')
    lines += ("", "#: z.html", 'msgid "the third sentence of all"', 'msgstr "三"', "")
    text = "\n".join(lines) + "\n"
    translate.CATALOG.write_text(text, encoding="utf-8")
    translate.update({}, {})
    assert translate.CATALOG.read_text(encoding="utf-8") == text, "nothing else is touched"
    translate.update(
        {"second {eval}`x`": "x.html", "the third sentence of them all": "z.html"},
        {"the third sentence of all": "book/locale/zh_TW.po"},
    )
    known = {"first": "一", "nowhere": "無", "second {eval}`x`": ""}
    known |= {"the third sentence of them all": ""}
    assert translate.read_catalog() == known, "a proposal is no translation yet"
    text = translate.CATALOG.read_text(encoding="utf-8")
    assert '#: x.html\nmsgid "second {eval}`x`"' in text
    assert '#, fuzzy\nmsgid "the third sentence of them all"\nmsgstr "三"' in text


def test_placeholders_of_every_entry_exist():
    for english, chinese in translate.read_catalog().items():
        given, used = (set(re.findall(r"%(\d+)", text)) for text in (english, chinese))
        assert chinese
        assert used <= given, english


def test_shared_files_are_asked_for_where_they_are(tmp_path):
    english, made = tmp_path / "html", tmp_path / "made"
    text = '<link href="../_static/a.css?v=1"><script src="../_static/b.js"></script>'
    text += '<i style="x: url(../_images/c.png)">../_static/a.css</i>'
    for folder in (english, made):
        for name, content in {
            "_static/a.css": "a",
            "_images/c.png": "c",
            "_static/b.js": folder.name,
            "book/p.html": text,
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    build.share(made, english / "zh", english, {})
    assert sorted(
        p.relative_to(english / "zh").as_posix() for p in (english / "zh").rglob("*.*")
    ) == [
        "_static/b.js",
        "book/p.html",
    ]
    assert (english / "zh" / "book" / "p.html").read_text() == (
        text.replace('"../_static/a', '"../../_static/a').replace("(../_images", "(../../_images")
    )


# What follows looks at the smoke book, built once.


@pytest.fixture(scope="module")
def editions(built):
    """Return {path: (English page, Chinese page)}, parsed."""
    html = built[0] / "html"
    names = [p.relative_to(html / "zh").as_posix() for p in (html / "zh").rglob("*.html")]
    return {
        name: [
            BeautifulSoup((folder / name).read_text(encoding="utf-8"), "html.parser")
            for folder in (html, html / "zh")
        ]
        for name in names
    }


def test_both_editions_have_the_same_pages_sections_and_figures(built, editions):
    html = built[0] / "html"
    english = {p.relative_to(html).as_posix() for p in html.rglob("*.html")} - {
        f"zh/{name}" for name in editions
    }
    assert editions.keys() == {name for name in english if not name.startswith("_static")}
    assert {f"book/{name}.html" for name in chapters.ORDER} <= editions.keys()
    for name, pair in editions.items():
        if not name.startswith("book/"):
            continue
        ids = [[tag["id"] for tag in tree.select("main section[id]")] for tree in pair]
        assert ids[0] == ids[1]
        assert ids[0]
        for what in ("main img", "main table tr", "main div.math", "main pre", "main a[href]"):
            assert len(pair[0].select(what)) == len(pair[1].select(what)), f"{name}: {what}"


def test_pages_say_their_language_and_lead_to_each_other(built, editions):
    html = built[0] / "html"
    for name, pair in editions.items():
        if name == "index.html":
            continue  # leads to the front page
        for tree, folder, language, other in zip(
            pair, (html, html / "zh"), ("en", "zh-TW"), ("zh-Hant-TW", "en"), strict=True
        ):
            link = tree.select_one("a.hw3-language")
            assert tree.html["lang"] == language
            assert link["lang"] == link["hreflang"] == other
            target = (html / "zh" if folder == html else html) / name
            assert ((folder / name).parent / link["href"]).resolve() == target.resolve()


def test_nothing_of_the_smoke_book_is_missing_or_stale(built, monkeypatch):
    """What CI asks of `make book` too: python -m hw3 translations."""
    monkeypatch.setenv("HW3_BUILD", str(built[0]))
    command = [sys.executable, "-m", "press", "translations"]
    said = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=disk.ROOT)
    assert said.returncode == 0, said.stdout + said.stderr


def test_chinese_pages_are_in_chinese(editions):
    for name in chapters.ORDER:
        main = editions[f"book/{name}.html"][1].select_one("article")
        for tag in main(["script", "style", "pre", "code"]) + main.select(
            ".math, .hw3-plot, a.external, a.internal[title], .citation"  # sources are as published
        ):
            tag.decompose()
        texts = [
            text for text in main.find_all(string=True) if type(text).__name__ == "NavigableString"
        ]
        assert [text for text in texts if re.search(r"\b[a-z]{2,} [a-z]{2,}\b", text)] == []
        assert [
            image["alt"]
            for image in main("img")
            if re.search(r"\b[a-z]{2,} [a-z]{2,}\b", image.get("alt", ""))
        ] == []


def test_static_files_are_not_doubled(built):
    html = built[0] / "html"
    chinese = [p for p in (html / "zh").rglob("*") if p.is_file()]
    both = [p for p in chinese if p.relative_to(html / "zh").parts[0].startswith("_")]
    assert sorted(p.name for p in both) == [
        "documentation_options.js",
        "language_data.js",
        "translations.js",
    ]
    assert sum(p.stat().st_size for p in chinese) < 5e6, "what all pages load lies in _static alone"


def test_terms_are_those_of_taiwan():
    text = "\n".join(translate.read_catalog().values())
    for term in (
        "卷積神經網路",
        "混淆矩陣",
        "主成分分析",
        "召回率",
        "精確率",
        "批次正規化",
        "資料擴增",
        "保留集",
    ):
        assert term in text
    for other in (
        "神經網絡",
        "數據",
        "卷積核心",
        "準確度",
        "召回度",
        "查準率",
        "訊練",
        "默認",
        "優化器",
        "模塊",
        "視頻",
        "圖像",
    ):
        assert other not in text


def test_damaged_catalog_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(translate, "CATALOG", Path(tmp_path / "zh_TW.po"))
    translate.CATALOG.write_text('msgid "Happy"\nmsgstr "高興\nmsgid', encoding="utf-8")
    with pytest.raises(ValueError, match=r"zh_TW\.po"):
        translate.read_catalog()
