"""The Chinese edition: how messages find their translations, what the check finds, and that both
editions have the same pages.
"""

# ruff: noqa: RUF001 (Chinese has its own parentheses and colons)
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes

from hw3 import disk
from press import build, chapters, page, translate
from press.translate import Pairs, Translator, check, translate_html

CATALOG = {
    "Happy": "高興",
    "Sad": "難過",
    "mirrored": "鏡射",
    "recorded": "存檔",
    "your own": "你的",
    "%1 taken for %2 (%3)": "%1認成%2（%3）",
    "Of %1 images %2 show %3.": "%3：%1 張影像中有 %2 張。",
    "Before: %1. After.": "之前：%1。之後。",
    "It stands.": "成立。",
    "recipe %1": "配方 %=1",
    "%1 (%2 to %3)": "%1（%2 至 %3）",
}


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("Happy", "高興"),
        (
            "Of 1,234 images 12.3% show Sad.",
            "難過：1,234 張影像中有 12.3% 張。",
        ),  # in another order
        ("Happy taken for Sad (49%)", "高興認成難過（49%）"),  # what is caught is translated too
        ("Before: Sad taken for Happy (1%). After.", "之前：難過認成高興（1%）。之後。"),
        (
            "Before: recorded: mirrored, Happy; your own: Sad. After.",
            "之前：存檔：鏡射、高興；你的：難過。之後。",
        ),  # a list of lists
        (
            "Sad taken for Happy (1%); Happy taken for Sad (2%)",
            "難過認成高興（1%）；高興認成難過（2%）",
        ),  # a list, not one long match
        (
            "It stands. Of 5 images 2 show Happy.",
            "成立。高興：5 張影像中有 2 張。",
        ),  # two sentences
        ("Sad – Happy", "難過–高興"),
        ("Sad taken for Happy (1%); n = 400", "難過認成高興（1%）；n = 400"),  # no interval's n
        ("CNN: 72.6% [71.1, 74.0; n = 3,589]", "CNN：72.6% [71.1, 74.0; n = 3,589]"),
        ("python 3.11, keras 3.15", "python 3.11、keras 3.15"),  # a list of names
        ("modern-cnn, modern-dnn-seed1: Sad", "modern-cnn、modern-dnn-seed1：難過"),
        ("`python -m hw3, make`", "`python -m hw3, make`"),  # code and formulas stay
        ("$a, b$", "$a, b$"),
        ("53.7, 53.6", "53.7, 53.6"),  # numbers stay
        ("Sad/Happy", "難過／高興"),
        ("1.5% (1.0% to 2.0%)", "1.5%（1.0% 至 2.0%）"),
        ("recipe mirrored", "配方 mirrored"),  # a name stays, even one that the catalog has
        ("CPU Intel(R) Xeon(R) Processor @ 2.20GHz", "CPU Intel(R) Xeon(R) Processor @ 2.20GHz"),
        ("FER2013", "FER2013"),
    ],
)
def test_message_finds_its_translation(english, chinese):
    translator = Translator(CATALOG, {}, "")
    assert translator.translate(english) == chinese
    assert translator.missing == {}


def test_a_placeholder_catches_no_comma_of_a_list():
    translator = Translator(CATALOG | {"%1 rises to %2": "%1升到 %2"}, {}, "")
    found = translator.translate("Happy rises to 2.0, Sad rises to 3.0")
    assert found == "高興升到 2.0、難過升到 3.0"


def test_a_value_alone_needs_no_translation():
    markdown = "{eval}`happy` {eval}`sad` of faces"
    messages = dict.fromkeys(("{eval}`happy`", "{eval}`sad` of faces"), "a.html")
    translator, _ = check({}, {}, markdown, messages)
    assert translator.missing == {"{eval}`sad` of faces": "a.html"}


def test_a_text_of_markdown_is_in_the_catalog_as_it_stands():
    catalog = {"%1 of %2": "%2 中的 %1", "faces": "臉"}
    translator = Translator(catalog, {}, "Some of the faces.")
    assert translator.translate("some of faces") == "臉中的 some"
    assert translator.translate("Some of the faces.") == "Some of the faces.", "by no pattern"
    assert list(translator.missing) == ["Some of the faces."]


def test_the_entry_with_most_letters_of_its_own_wins():
    catalog = {"%1 of %2": "%2 中的 %1", "%1 of %2 faces": "%2 張臉中的 %1", "7 faces": "七臉"}
    assert Translator(catalog, {}, "").translate("5 of 7 faces") == "7 張臉中的 5"
    assert Translator(catalog, {}, "").translate("5 of the 7") == "the 7 中的 5"


def test_a_long_list_of_unknown_parts_takes_no_time():
    catalog = {f"%1 {word} %2": f"%1 {word} %2" for word in ("of", "and", "from", "to", "with")}
    text = ", ".join(f"one of the and from with to {n}; more of it: {n}" for n in range(60))
    translator = Translator(catalog, {}, "")
    found = translator.translate(text)
    assert found.replace("；", "; ").replace("：", ": ").replace("、", ", ") == text
    assert translator.attempt.cache_info().currsize < 5000


def test_texts_of_the_source_are_strings_and_names_that_tables_show():
    code = """'''About.'''
class A:
    false_negatives: int
said = f"Of {n:,} images " + ("all are known." if n else "none is known")
table.assign(share=1)
"""
    found = set(translate.texts_of(code))
    assert found == {
        *("About.", "Of", "images", "all are known.", "none is known", "share"),
        *("false negatives", ",", "1"),
    } - {"1"}


SOURCE = {"taken for": "beyond/x.py", "Happy": "hw3/faces.py"}


def test_check_is_quiet_where_all_is_translated():
    catalog = {name: CATALOG[name] for name in ("%1 taken for %2 (%3)", "Happy")}
    translator, stale = check(catalog, SOURCE, "( )", {"Happy taken for Happy (1%)": "x.html"})
    assert (translator.missing, stale) == ({}, {})


def test_check_names_what_is_missing_and_where():
    message = {"Happy taken for Happy (1%)": "x.html"}
    translator, _ = check({"Happy": "高興"}, SOURCE, "", message)
    assert translator.missing == message
    translator, _ = check({"Happy": ""}, SOURCE, "", {"Happy": "x.html"})
    assert translator.missing == {"Happy": "x.html"}, "an empty entry is no translation"
    translator, _ = check({}, SOURCE, "", {"Happy": "x.html"})
    assert translator.missing == {"Happy": "x.html"}, "a word of the source"
    translator, _ = check({}, {}, "", {"what no source text has": "x.html", "FER2013": "x.html"})
    assert list(translator.missing) == ["what no source text has"]


def test_check_names_an_entry_that_no_source_text_accounts_for():
    catalog = {"Happy": "高興", "%1 taken as %2": "%1當成%2", "taken": "取", "%1 taken for": "認"}
    _, stale = check(catalog, SOURCE, "", {"Happy": "x.html"})
    assert stale == {"%1 taken as %2": "book/locale/zh_TW.po"}


def test_html_is_translated_between_tags_and_escaped():
    words = {"a & b": "甲 & <乙>", "Sheet": '"表"', "Loading": "載入中", "in": "in"}
    source = (
        '<table class="a & b"><th> a &amp; b </th><td>1,234</td></table>'
        '<img alt="Sheet" src="Sheet"><script>const a = _("Loading"), b = "Loading";</script>'
        '<style>b::after {content: "a & b"}</style><!-- Sheet -->'
    )
    expected = (
        '<table class="a & b"><th> 甲 &amp; &lt;乙&gt; </th><td>1,234</td></table>'
        '<img alt="&quot;表&quot;" src="Sheet">'
        '<script>const a = _("載入中"), b = "Loading";</script>'
        '<style>b::after {content: "a & b"}</style><!-- Sheet -->'
    )
    assert translate_html(source, words.__getitem__) == expected


def test_words_of_a_plotly_figure_are_translated_and_its_options_stay():
    names = {
        "Sad": "難過",
        "text": "文字",
        "solid": "實線",
        "true %1:<br>%2 of %3": "%1：<br>%2/%3",
    }
    translator = Translator(names, {}, "")
    matrix = go.Heatmap(z=[[0.5]], x=["Sad"], y=["Sad"], hoverinfo="text")
    figure = go.Figure(matrix.update(hovertext=[["true Sad:<br>1 of 2"]]))
    figure.add_scatter(x=[1], y=[2], name="Sad", line_dash="solid")
    figure.update_layout(title_text="Sad")
    before = figure.to_html(full_html=False, include_plotlyjs=False)
    after = translate_html(before, translator.translate)
    drawn = json.JSONDecoder().raw_decode(after, after.index("[{"))[0]
    assert (drawn[0]["x"], drawn[0]["y"], drawn[0]["hoverinfo"]) == (["難過"], ["難過"], "text")
    assert drawn[0]["hovertext"] == [["難過：<br>1/2"]]
    assert (drawn[1]["name"], drawn[1]["line"]["dash"], drawn[1]["x"]) == ("難過", "solid", [1])
    assert '"text":"難過"' in after
    assert "<br>" not in after, "escaped, as before"


def test_chinese_and_latin_are_spaced():
    assert (
        translate.spaced("答對83.9% ，在 人是 高興（n = 3） 。")
        == "答對 83.9%，在人是高興（n = 3）。"
    )


def test_the_head_of_a_page_is_translated():
    own = {name: ["x"] for name in ("data", "profile", "device", "date")}
    line = page.head({"recorded": own, "own": own}, "cnn.ipynb", space="")
    tree = nodes.section("", line)
    words = {
        "Recorded: x, profile x, x, x.": "錄製：x。",
        "This build: x, profile x, x, x.": "本次建置：x。",
        "Brackets hold 95% intervals.": "方括號。",
        "Open in JupyterLab: `make lab`, then `cnn.ipynb`.": "先 `make lab`，再 `cnn.ipynb`。",
    }
    translate.put_in(tree, words.__getitem__)
    assert line.astext() == "錄製：x。本次建置：x。方括號。先 make lab，再 cnn.ipynb。"
    assert [code.astext() for code in tree.findall(nodes.literal)] == ["make lab", "cnn.ipynb"]


def test_title_author_and_captions_are_of_the_settings_and_translated_for_a_build():
    texts = chapters.settings_texts()
    assert set(texts.values()) == {"_config.yml", "_toc.yml"}
    assert texts.items() <= translate.source_texts()[0].items()
    for words in ({}, dict(zip(texts, "甲乙丙丁", strict=True))):
        source = build.write_source([], "source", words, language="zh_TW")
        config, toc = (
            yaml.safe_load((source / name).read_text()) for name in ("_config.yml", "_toc.yml")
        )
        captions = [part.pop("caption") for part in toc["parts"]]
        assert [config["title"], config["author"], *captions] == [words.get(t, t) for t in texts]
        files = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
        assert files == [f"book/{name}" for name in chapters.ORDER]


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


def test_update_puts_missing_entries_behind_the_one_before_them(tmp_path, monkeypatch):
    monkeypatch.setattr(translate, "CATALOG", tmp_path / "zh_TW.po")
    lines = ("#: x.html", 'msgid "first"', 'msgstr "一"', "", "#: z.html")
    lines += ('msgid "the third sentence of all"', 'msgstr "三"', "")
    text = translate.HEADER.decode() + "\n".join(lines) + "\n"
    translate.CATALOG.write_text(text, encoding="utf-8")
    translate.update({}, {}, {"first": "y.html"})
    assert translate.CATALOG.read_text(encoding="utf-8") == text, "nothing else is touched"
    translate.update(
        {"second": "x.html: second", "the third sentence of them all": "z.html: the"},
        {"the third sentence of all": "book/locale/zh_TW.po"},
        {"first": "x.html", "second": "x.html", "the third sentence of them all": "z.html"},
    )
    known = {"first": "一", "second": "", "the third sentence of them all": ""}
    assert translate.read_catalog() == known, "a proposal is no translation yet"
    text = translate.CATALOG.read_text(encoding="utf-8")
    assert '#: x.html\nmsgid "second"' in text
    assert '#, fuzzy\nmsgid "the third sentence of them all"\nmsgstr "三"' in text


def test_placeholders_of_every_entry_exist():
    for english, chinese in translate.read_catalog().items():
        given, used = (set(re.findall(r"%=?(\d+)", text)) for text in (english, chinese))
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


def test_only_the_chinese_pages_are_built_anew_where_only_the_catalog_changed(
    tmp_path, monkeypatch
):
    for part in ("hw3", "beyond", "press", "book"):
        shutil.copytree(
            disk.ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "results").mkdir()
    for name in build.SETTINGS:
        shutil.copyfile(disk.ROOT / name, tmp_path / name)
    builds = []

    def jupyter_book(source, output, builder):
        builds.append(source.name)
        place = disk.build_dir() / "html" if source.name == "source" else tmp_path / "made"
        place.mkdir(parents=True, exist_ok=True)
        (place / "index.html").write_text("page")
        return place

    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(build, "jupyter_book", jupyter_book)
    monkeypatch.setattr(translate, "write_concrete", lambda folder: 0)
    for name, expected in {
        "book/locale/zh_TW.po": ["source", "source-zh"], "press/translate.py": ["source-zh"],
        "press/page.css": ["source-zh"], "README.md": ["source", "source-zh"],
    }.items():  # fmt: skip
        builds.clear()
        for _ in range(2):
            build.build_page([])
            build.build_chinese([])
        assert builds == expected, f"before {name} changes"
        with open(tmp_path / name, "a", encoding="utf-8") as file:
            file.write("\n")
    builds.clear()
    build.build_page([])
    build.build_chinese([])
    assert builds == [], "README.md decides nothing"


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
            ".math, .hw3-plot, a.external"
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
