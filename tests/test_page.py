"""The built pages, as files and in a browser: what a reader sees, reaches by keyboard, hears read
out and has to load.
"""

import base64
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import expect, sync_playwright
from plotly.offline import get_plotlyjs

from hw3 import complexity, figures, metrics, original, runs
from hw3.faces import EMOTIONS
from press import chapters, page

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
OPTIONS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]  # no host to reach
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}  # CSS pixels
# What assistive technology reads of a formula is MathML, which axe-core has no rules for; it takes
# seconds on its glyphs.
AXE = {"exclude": [["mjx-container"]]}

# Resolves when all that a page's scripts make is there: formulas, turning plots, images.
DRAWN = """async () => {
    const end = performance.now() + 20000;
    const until = async ready => {
        while (!ready() && performance.now() < end) await new Promise(requestAnimationFrame);
    };
    await until(() => !document.querySelector(".math") || window.MathJax?.startup?.promise);
    await window.MathJax?.startup?.promise;
    for (const plot of document.querySelectorAll(".js-plotly-plot"))
        await until(() => plot.querySelector(".main-svg"));
    for (const image of document.images) image.loading = "eager";
    await Promise.allSettled([...document.images].map(image => image.decode()));
    await document.fonts.ready;
}"""
FOUND = """() => {
    const all = selector => [...document.querySelectorAll(selector)];
    const seen = e => e.checkVisibility({visibilityProperty: true});
    const told = e => (e.closest("[aria-label]")?.getAttribute("aria-label") || "").trim();
    const drawn = p => p.querySelector(".main-svg") && p.clientHeight;
    const unreachable = e => seen(e) && e.tabIndex < 0 && !e.disabled;
    const operable = "a[href], button, input, select, textarea, summary, [role=button]";
    const images = [...document.images];
    return {
        links: [...document.links].map(a => a.href),
        ids: all("[id]").map(e => e.id),
        formulas: all(".math").filter(e => !e.querySelector("mjx-container"))
            .map(e => e.textContent),
        failed: all("mjx-merror").map(e => e.textContent),
        empty: images.filter(i => !i.naturalWidth || (seen(i) && !i.width)).map(i => i.src),
        silent: images.filter(i => !/ /.test(i.alt) || /\\.(png|svg|jpe?g)$/.test(i.alt))
            .map(i => i.src),
        plots: all(".js-plotly-plot").filter(p => !drawn(p) || !told(p)).map(p => p.id),
        doubled: all(".hw3-interactive > img").filter(seen).map(i => i.alt),
        skipped: all(operable).filter(unreachable).map(e => e.outerHTML),
    };
}"""
# The plots that paper would not show.
PRINTED = """() => {
    const drawn = p => p.clientHeight > 100 && p.querySelector(".main-svg");
    const plots = [...document.querySelectorAll(".plotly-graph-div")];
    return plots.filter(p => !drawn(p)).map(p => p.id);
}"""
# The page is moved sideways as far as it goes; then what stands too far right is named, but for
# boxes that scroll themselves.
TOO_WIDE = """() => {
    scrollTo(9999, 0); document.body.scrollLeft = 9999;
    const moved = scrollX + document.body.scrollLeft;
    scrollTo(0, 0); document.body.scrollLeft = 0;
    const boxed = e => e && e !== document.body
        && (getComputedStyle(e).overflowX !== "visible" || boxed(e.parentElement));
    return !moved ? [] : [`by ${moved} px`, ...[...document.body.querySelectorAll("*")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !boxed(e))
        .map(e => e.outerHTML.slice(0, 80))];
}"""
# Tables of which a part must be scrolled to.
CUT_OFF = """() => [...document.querySelectorAll("table")].filter(table => {
    let box = table.parentElement;
    while (box !== document.documentElement && getComputedStyle(box).overflowX === "visible")
        box = box.parentElement;
    return box.scrollWidth > box.clientWidth + 1;
}).map(table => table.textContent.replace(/\\s+/g, " "))"""

# Every plot is as wide as its box: plotly follows a box that changes a moment later.
SETTLED = """() => [...document.querySelectorAll(".hw3-plot")].every(box => {
    const width = e => e?.getBoundingClientRect().width;
    const [all, plot] = [box, box.querySelector(".main-svg")].map(width);
    return Math.abs(all - plot) < 1;
})"""


@pytest.fixture(
    scope="module"
)  # Playwright runs once in a process at a time, and the PDF's tests print with it too
def browser():
    """Return Chromium, one for all pages. In CI it must be there."""
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, path=None):
    """Open a page from disk as a first-time reader does; yield its tab, and the list of what goes
    wrong from then on.
    """
    context = browser.new_context(viewport=NARROW, color_scheme="light", reduced_motion="reduce")
    tab, wrong = context.new_page(), []
    tab.on(
        "console",
        lambda message: message.type == "error" and wrong.append(f"console: {message.text}"),
    )
    tab.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    tab.on(
        "request",
        lambda request: (
            request.url.startswith("http") and wrong.append(f"asks another host: {request.url}")
        ),
    )
    tab.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url}"))
    if path:
        visit(tab, path)
    yield tab, wrong
    context.close()


def visit(tab, path):
    """Open a page from disk in a tab, and wait until all of it is there."""
    tab.goto(path.as_uri())
    tab.evaluate(DRAWN)


def barriers(tab, rules=None):
    """Return what axe-core finds serious or critical, by all its rules or some."""
    options = {"resultTypes": ["violations"], "preload": False} | (
        {"runOnly": rules} if rules else {}
    )  # preload would fetch
    found = Axe().run(tab, AXE, options).response["violations"]
    bad = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [f"axe: {rule['id']}: {node['html'][:120]}" for rule in bad for node in rule["nodes"]]


def look(tab, wrong, path, axe=True):
    """Look at a page narrow and wide, in light and dark. Return what is wrong, its ids, its links,
    and seconds to first paint.

    The tab and the list are those of `opened`: in a tab of its own each page would take twice as
    long. Without axe only what fits, loads, links and can be reached.
    """
    wrong.clear()
    tab.set_viewport_size(NARROW)
    tab.emulate_media(media="screen", color_scheme="light")
    visit(tab, path)
    paint = tab.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime / 1000"
    )
    found = SimpleNamespace(**tab.evaluate(FOUND))
    kinds = {
        "formulas": "no formula",
        "failed": "formula",
        "empty": "no image",
        "silent": "no alternative text",
    }
    kinds |= {
        "plots": "no plot or no label",
        "skipped": "not reached by keyboard",
        "doubled": "plot and picture",
    }
    wrong += [
        f"{kind}: {what[:120]}" for name, kind in kinds.items() for what in getattr(found, name)
    ]
    wrong += [f"360 px, light: too wide: {what}" for what in tab.evaluate(TOO_WIDE)]
    if axe:
        wrong += [f"360 px {what}" for what in barriers(tab, ["scrollable-region-focusable"])]
        tab.emulate_media(color_scheme="dark")
        wrong += [f"360 px, dark: too wide: {what}" for what in tab.evaluate(TOO_WIDE)]
    tab.set_viewport_size(WIDE)
    wrong += [f"1280 px: table cut off: {what[:120]}" for what in tab.evaluate(CUT_OFF)]
    if not axe:
        return [*wrong], found.ids, found.links, paint
    tab.wait_for_function(
        "document.getAnimations().every(a => a.playState !== 'running')"
    )  # the sidebar slides in
    tab.wait_for_timeout(500)  # the theme measures what scrolls 0.3 s after a change of size
    wrong += [f"dark {what}" for what in barriers(tab, ["color-contrast"])]
    tab.emulate_media(color_scheme="light")
    wrong += barriers(tab)
    tab.emulate_media(media="print")
    wrong += [f"on paper no picture: {what}" for what in tab.evaluate(PRINTED)]
    return [*wrong], found.ids, found.links, paint


def broken(pages):
    """Return the internal links that lead nowhere. pages maps the path of a page to (its ids, its
    links).
    """
    ids = {path.as_uri(): found for path, (found, _) in pages.items()}
    lost = []
    for path, (_, links) in pages.items():
        for link in links:
            address, _, anchor = link.partition("#")
            if link.startswith("file:") and not (
                anchor in ids[address]
                if anchor and address in ids
                else Path(unquote(urlsplit(address).path)).is_file()
            ):
                lost.append(f"{path.name}: {link}")
    return lost


@pytest.fixture(scope="session")
def html(built):
    return built[0] / "html"


FIRST = ("index.html", "zh/index.html")  # these lead to the front pages


@pytest.mark.parametrize("first", FIRST)
def test_first_page_leads_to_the_front_page(html, first):
    text = (html / first).read_text(encoding="utf-8")
    assert (
        (html / first).parent
        / re.search(r'http-equiv="Refresh" content="0; url=([^"]+)"', text).group(1)
    ).is_file()


@pytest.fixture(scope="module")
def soups(html):
    """Return {path: page} of both editions, parsed."""
    paths = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    return {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in paths}


def test_every_link_into_the_book_leads_to_a_file_and_a_place_in_it(built, soups):
    """Links to other hosts are only listed, in links.txt beside the HTML."""
    seen, others = {}, set()
    for path, soup in soups.items():
        asked = [tag.get("href", tag.get("src")) for tag in soup.select("[href], [src]")]
        links = [urljoin(path.as_uri(), address) for address in asked]
        seen[path] = {tag["id"] for tag in soup.select("[id]")}, links
        others |= {link for link in links if link.startswith("http")}
    assert broken(seen) == []
    assert sum(len(links) for _, links in seen.values()) > 1500
    assert any(link.startswith("https://arxiv.org/") for link in others)
    (built[0] / "links.txt").write_text("\n".join(sorted(others)), encoding="utf-8")


def test_equations_are_numbered_by_chapter_and_sections_in_none(html, soups):
    for edition in (html, html / "zh"):
        for number, name in enumerate(chapters.HOMEWORK, 1):
            soup = soups[edition / "book" / f"{name}.html"]
            numbers = [place.find(string=True) for place in soup.select(".eqno")]
            assert numbers == [f"({number}.{i})" for i in range(1, len(numbers) + 1)]
            assert {"complexity": 6, "pca": 13}.get(name, 0) <= len(numbers)
            assert soup.h1.text.startswith(f"{number}. ")
            for link in soup.select("a[href^='#equation-']:not(.headerlink)"):
                assert link.text == soup.find(id=link["href"][1:]).select_one(".eqno").find(
                    string=True
                )
    headings = [
        heading.text for soup in soups.values() for heading in soup.select("section :is(h2, h3)")
    ]
    assert len(headings) > 100
    assert [heading for heading in headings if re.match(r"\d+\.", heading)] == []


# The mask of a box that scrolls sideways, before and after it was scrolled to its end.
FADES = """async selector => {
    const box = [...document.querySelectorAll(selector)].find(e => e.scrollWidth > e.clientWidth);
    const masks = [];
    for (const place of [0, box.scrollWidth]) {
        box.scrollLeft = place;
        for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
        masks.push(getComputedStyle(box).maskImage);
    }
    return masks;
}"""


@pytest.mark.parametrize(
    ("page", "selector"),
    [
        ("index", "div.cell_output .output"),
        ("cnn", "a.image-reference"),
        ("pca", 'mjx-container[display="true"]'),
    ],
)
def test_what_scrolls_on_a_phone_fades_at_its_side_until_its_end(html, browser, page, selector):
    with opened(browser, html / "book" / f"{page}.html") as (tab, wrong):
        at_first, at_the_end = tab.evaluate(FADES, selector)
        assert at_first.startswith("linear-gradient(to left")
        assert at_the_end == "none"
        tab.set_viewport_size(WIDE)
        assert "linear" not in tab.evaluate(
            "s => getComputedStyle(document.querySelector(s)).maskImage", selector
        )
        assert wrong == []


def test_charts_change_with_the_theme_and_pictures_do_not(html, browser):
    filters = """s => [...document.querySelectorAll(s)].map(e => getComputedStyle(e)).map(
        style => `${style.filter}, ${style.backgroundColor}, ${style.padding}`)"""
    clear = "rgba(0, 0, 0, 0), 0px"
    with opened(browser, html / "book" / "cnn.html") as (tab, _):
        for theme, filtered in (("light", "none"), ("dark", "invert(0.93) hue-rotate(180deg)")):
            tab.emulate_media(color_scheme=theme)
            tab.wait_for_function("t => document.documentElement.dataset.theme === t", arg=theme)
            chart, picture = "main img.hw3-chart", "main .cell_output img:not(.hw3-chart)"
            assert set(tab.evaluate(filters, chart)) == {f"{filtered}, {clear}"}
            assert set(tab.evaluate(filters, picture)) == {f"none, {clear}"}


def test_switch_leads_to_the_same_section_in_the_other_language(html, browser):
    with opened(browser, html / "book" / "confusion.html") as (tab, wrong):
        tab.evaluate("document.getElementById('the-matrix').scrollIntoView()")
        tab.focus("a.hw3-language")
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/zh/book/confusion.html#the-matrix")
        assert tab.evaluate("document.documentElement.lang") == "zh-TW"
        tab.evaluate("scrollTo(0, 0)")
        tab.click("a.hw3-language")
        tab.wait_for_url("**/html/book/confusion.html*")
        assert wrong == []


def test_search_finds_chinese_words(html, browser):
    with opened(browser, html / "zh" / "search.html") as (tab, wrong):
        tab.goto((html / "zh" / "search.html").as_uri() + "?q=混淆矩陣")
        tab.wait_for_selector("#search-results li a[href*='confusion.html']")
        assert wrong == []


def test_demo_finds_its_networks_and_speaks_chinese(html, browser):
    """Its scripts lie with the English pages: the Chinese edition holds no copy."""
    with opened(browser, html / "zh" / "book" / "try.html") as (tab, wrong):
        tab.locator("#hw3-drawn").scroll_into_view_if_needed()
        tab.wait_for_selector("#hw3-drawn[data-answers]")
        said = tab.locator("#hw3-drawn .say").inner_text()
        assert re.search("^最可能是.*(生氣|厭惡|恐懼|高興|難過|驚訝|中立)$", said)
        assert wrong == []


def test_browser_test_would_see_each_kind_of_defect(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><html lang=en><title>Bad</title><body><main><h1 id=top>Bad</h1>"
        "<style>@media (prefers-color-scheme: dark){p {background: #777; color: #888}}</style>"
        "<img src='https://example.org/x.png' alt='a b'><img src=gone.png alt='a b'>"
        "<img src='data:image/svg+xml,"
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\' alt=x.svg>'
        "<p>gray</p><button></button><div class=math>x</div><mjx-merror>y</mjx-merror>"
        "<a href='#no'>1</a><a href=gone.html>2</a>"
        "<a href='#top'>3</a><a href=bad.html tabindex=-1>4</a>"
        "<div style='width: 500px'>wide</div><div class=js-plotly-plot>"
        "<b class=main-svg></b></div><div class=hw3-interactive><img alt='its picture'></div>"
        "<div class=plotly-graph-div></div>"
        "<div style='overflow: auto'><table width=2000><tr><td>cell</table></div></main>"
        "<script>window.MathJax = {startup: {promise: 1}}; console.error('oh')</script></html>"
    )
    with opened(browser) as (tab, wrong):
        wrong, ids, links, _ = look(tab, wrong, bad)
    expected = {
        "asks another host: https://example.org/x.png", "console: oh", "not loaded: .*gone.png",
        "no image: .*gone.png",
        "no alternative text: data:.*", "no formula: x", "formula: y", "no plot or no label: ",
        "plot and picture: its picture", "on paper no picture: ",
        "not reached by keyboard: .*>4<.*", "axe: button-name: .*",
        "dark axe: color-contrast: .*gray.*",
        "360 px, dark: too wide: .*", "360 px, light: too wide: .*", "1280 px: table cut off: cell",
    }  # fmt: skip
    assert [
        pattern for pattern in expected if not any(re.fullmatch(pattern, what) for what in wrong)
    ] == []
    assert [link.rpartition("/")[2] for link in broken({bad: (ids, links)})] == [
        "bad.html#no",
        "gone.html",
    ]


def test_tab_key_goes_through_a_whole_page(html, browser):
    """From the first Tab on, each thing that can be operated gets the focus, and shows it."""
    with opened(browser, html / "book" / "complexity.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        expected = tab.evaluate(
            """() => [...document.querySelectorAll("main :is(a[href], button, input, summary)")]
            .filter(e => e.checkVisibility({visibilityProperty: true}))
            .map((e, i) => e.dataset.stop = `${i}`)"""
        )
        reached, hidden = set(), []
        for _ in range(300):
            tab.keyboard.press("Tab")
            stop, name, *look = tab.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                return [e.dataset.stop, e.outerHTML.slice(0, 150),
                    s.outlineStyle, s.boxShadow, s.textDecorationLine]; }"""
            )
            reached.add(stop)
            hidden += [name] * (stop is not None and look == ["none"] * 3)
        assert len(expected) > 20
        assert [stop for stop in expected if stop not in reached] == []
        assert hidden == []


def test_pages_are_small(html):
    files = [p for p in html.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 35e6, sorted(
        (p.stat().st_size, p.name) for p in files
    )[-5:]
    assert [p.name for p in files if p.suffix == ".html" and p.stat().st_size > 1.5e6] == []


def test_icons_are_drawn_without_the_script_for_them(html, browser):
    with opened(browser, html / "book" / "index.html") as (tab, _):
        icon = (
            tab.locator(".theme-switch-button i, .theme-switch-button svg")
            .locator("visible=true")
            .first
        )
        assert icon.bounding_box()["width"] > 8
        assert tab.evaluate(
            "[...document.fonts]"
            ".some(font => /Awesome/.test(font.family) && font.status === 'loaded')"
        )


def test_nothing_that_a_page_uses_is_removed(tmp_path):
    static = tmp_path / "_static"
    kept = [
        "mathjax/tex-chtml.js",
        "mathjax/output/chtml/fonts/woff-v2/a.woff",
        "scripts/a.js",
        "scripts/fontawesome.js",
        "a.css",
        "vendor/a.woff2",
    ]
    gone = [
        "mathjax/sre/a.json",
        "mathjax/output/svg.js",
        "scripts/a.js.map",
        "locales/zh/a.mo",
        "vendor/a.ttf",
    ]
    for name in kept + gone:
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_text("content")
    app = SimpleNamespace(outdir=tmp_path, env=SimpleNamespace(images={}))
    page.remove_unused(app, ValueError("the build failed"))
    assert all((static / name).exists() for name in kept + gone)
    page.remove_unused(app, None)
    assert sorted(
        p.relative_to(static).as_posix() for p in static.rglob("*") if p.is_file()
    ) == sorted(kept)
    assert {name for name in kept if not (static / name).read_text()} == {"scripts/fontawesome.js"}


def test_figures_of_earlier_builds_are_removed(tmp_path):
    old, new, other = (f"{letter * 64}.png" for letter in "abc")
    for folder in ("_images", "_static/scripts"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (old, new, "photo.png"):
        (tmp_path / "_images" / name).touch()
    env = SimpleNamespace(images={"x": ({"book/cnn"}, new), "y": ({"book/cnn"}, other)})
    page.remove_unused(SimpleNamespace(outdir=tmp_path, env=env), None)
    assert sorted(p.name for p in (tmp_path / "_images").iterdir()) == [new, "photo.png"]


def test_every_figure_of_every_chapter_has_alternative_text(built):
    figures = []
    for name in chapters.ORDER:
        for cell in nbformat.read(built[0] / "executed" / f"{name}.ipynb", as_version=4).cells:
            shown = [out for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
            figures += [
                (name, cell.id, out.metadata.get("image/png", {}).get("alt", "")) for out in shown
            ]
    assert len(figures) > 15
    assert [figure for figure in figures if len(figure[2]) < 40] == []


def told(recorded, own):
    names = "data", "profile", "device", "date"
    return {
        "recorded": dict(zip(names, recorded, strict=True)),
        "own": dict(zip(names, own, strict=True)),
    }


def test_head_names_the_runs_and_the_chapter():
    recorded = (
        ["FER2013"],
        ["cpu", "full"],
        ["CPU A", "1 GPU B"],
        ["2026-01-02", "2026-01-03", "2026-01-04"],
    )
    own = ["drawn faces"], ["smoke"], ["CPU A"], ["2026-02-01"]

    def head(about, file):
        return BeautifulSoup(page.head(about, file), "html.parser").text

    assert head(told(recorded, own), "cnn.ipynb") == (
        "Recorded: FER2013, profile cpu / full, CPU A / 1 GPU B, 2026-01-02 / 2026-01-04. "
        "This build: drawn faces, profile smoke, CPU A, 2026-02-01. Brackets hold 95% intervals. "
        "Open in JupyterLab: run make lab, then choose cnn.ipynb there."
    )
    assert head(told(([],) * 4, own), "x") == (
        "This build: drawn faces, profile smoke, CPU A, 2026-02-01. "
        "Open in JupyterLab: run make lab, then choose x there."
    ), "no run, no interval"
    assert head({"key": "abc"}, "x") == "Open in JupyterLab: run make lab, then choose x there."


def test_every_page_says_which_runs_it_shows(html):
    for name in chapters.ORDER:
        if name == "references":  # it computes nothing
            continue
        text = (html / "book" / f"{name}.html").read_text(encoding="utf-8")
        line = re.search(r'</h1>\s*<p class="hw3-head">(.*?)</p>', text).group(1)
        assert re.search(r"This build: drawn faces, profile smoke, \S.*, 20\d\d-\d\d-\d\d\.", line)
        source = (runs.ROOT / "book" / f"{name}.ipynb").read_text()
        assert ("Recorded: FER2013" in line) == bool(
            re.search(r"(runs\.recorded|claims\.recorded_evidence)\(", source)
        )
        assert f"{name}.ipynb" in line


def test_notebooks_are_saved_from_disk_as_written_without_paths(html, browser, tmp_path):
    for name in chapters.ORDER:
        text = (html / "book" / f"{name}.html").read_text(encoding="utf-8")
        found = re.search(
            rf'<a download="{name}.ipynb" href="data:application/x-ipynb\+json;base64,([^"]+)">',
            text,
        )
        notebook = nbformat.reads(
            (source := base64.b64decode(found.group(1)).decode()), as_version=4
        )
        assert notebook.cells[0].source.startswith("# ")
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert str(html.parents[1]) not in source
    with opened(browser, html / "book" / f"{name}.html") as (tab, wrong):
        with tab.expect_download() as saved:
            tab.get_by_role("link", name=f"{name}.ipynb", exact=True).click()
        assert saved.value.suggested_filename == f"{name}.ipynb"
        saved.value.save_as(tmp_path / "saved.ipynb")
        assert wrong == []
    assert (tmp_path / "saved.ipynb").read_text(encoding="utf-8") == source


def test_every_source_is_cited_and_both_editions_list_all(html):
    sources = (runs.ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\w+),", sources, re.MULTILINE)
    assert len(keys) > 30
    texts = [path.read_text("utf-8") for path in (runs.ROOT / "book").glob("*.ipynb")]
    assert set(re.findall(r"\{cite:\w+\}`(\w+)`", "".join(texts))) == set(keys)
    for edition in (html, html / "zh"):
        page = (edition / "book" / "references.html").read_text(encoding="utf-8")
        assert sorted(re.findall(r'<div class="citation" id="(\w+)"', page)) == sorted(keys)
        assert 'class="label"' not in page


def test_every_chapter_links_its_words_to_the_glossary_of_its_edition(html):
    for edition in (html, html / "zh"):
        glossary = (edition / "book" / "references.html").read_text(encoding="utf-8")
        words = set(re.findall(r'<dt id="(term-[^"]+)"', glossary))
        assert len(words) > 12
        used = set()
        for name in set(chapters.ORDER) - {"references"}:
            page = (edition / "book" / f"{name}.html").read_text(encoding="utf-8")
            linked = set(re.findall(r'href="references\.html#(term-[^"]+)"', page))
            assert linked, name
            used |= linked
        assert used == words


# Where the middle of a cell is in the window, by plotly's own way from data to pixels.
MIDDLE = """([plot, row, column]) => {
    plot.scrollIntoView({block: "center"});
    const {xaxis: x, yaxis: y} = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.left + x._offset + x.l2p(column), box.top + y._offset + y.l2p(row)];
}"""


@pytest.fixture(scope="session")
def own(built):
    """Return the run that chapter 3 of the built book shows."""
    return runs.load(next((built[0] / "runs").glob("cnn-smoke-*/")))


def test_confusion_matrix_answers_to_pointing_clicking_and_choosing(html, browser, own):
    labels, predicted = own.predicted()
    counts = metrics.confusion(labels, predicted)
    cells = [(t, p) for t, p in np.argwhere(counts > 0).tolist() if counts[t].sum() > 2][:3]
    empty = tuple(np.argwhere((counts == 0) & (counts.sum(1) > 0)[:, None])[0].tolist())
    with opened(browser, html / "book" / "confusion.html") as (tab, wrong):
        for size in (WIDE, NARROW):
            tab.set_viewport_size(size)
            figure = tab.locator(".hw3-interactive").nth(1)
            plot, shown = figure.locator(".js-plotly-plot"), figure.locator("form [role=img]")
            before, after = None, tab.evaluate(MIDDLE, [plot.element_handle(), 6, 6])
            while before != after:  # plotly follows the window, a moment later
                tab.wait_for_timeout(500)
                before, after = after, tab.evaluate(MIDDLE, [plot.element_handle(), 6, 6])
            for true, guess in [*cells, empty]:
                k, n = counts[true, guess], counts[true].sum()
                told = [
                    f"true {EMOTIONS[true]}, predicted {EMOTIONS[guess]}:",
                    f"{k} of {n} faces,",
                    f"{metrics.proportion(k, n):short}",
                ]
                tab.mouse.move(*tab.evaluate(MIDDLE, [plot.element_handle(), true, guess]), steps=3)
                expect(figure.locator(".hoverlayer tspan")).to_have_text(told)
                tab.mouse.down()
                tab.mouse.up()
                expect(figure.get_by_role("status")).to_have_text(
                    " ".join(told).replace("true", "True", 1) + "."
                )
                assert shown.locator("i").count() == min(k, 6)
                assert shown.is_visible() == bool(k)
                if k:
                    emotions = f"labeled {EMOTIONS[true]} and predicted {EMOTIONS[guess]}"
                    label = shown.get_attribute("aria-label")
                    assert f"{min(k, 6)} faces {emotions}" in label
            truth, guess = figure.locator("label select").all()
            truth.select_option(EMOTIONS[cells[0][0]])  # by keyboard or touch
            guess.select_option(EMOTIONS[cells[0][1]])
            assert f"{counts[cells[0]]} of " in figure.get_by_role("status").inner_text()
            assert shown.locator("i").count() == min(counts[cells[0]], 6)
        recorded = tab.locator(".hw3-interactive").first
        assert re.search(
            r"\d+ of [\d,]+ faces, [\d.]+% \[", recorded.get_by_role("status").inner_text()
        )
        plot = recorded.locator(".js-plotly-plot").element_handle()
        for cell in ((3, 3), (0, 4)):
            told = f"true {EMOTIONS[cell[0]]}, predicted {EMOTIONS[cell[1]]}:"
            tab.mouse.move(*tab.evaluate(MIDDLE, [plot, *cell]), steps=3)
            expect(recorded.locator(".hoverlayer tspan").first).to_have_text(told)
            tab.mouse.down()
            tab.mouse.up()
            expect(recorded.get_by_role("status")).to_contain_text(told.replace("true", "True"))
            marked = tab.evaluate(
                "plot => plot.layout.shapes.map(s => [s.y0 + s.y1, s.x0 + s.x1])", plot
            )
            assert marked == [[2 * i for i in cell]]
        assert tab.locator("script[src*='plotly.min.js']").count() == 1, (
            "each copy would take the clicks from those before it"
        )
        assert recorded.locator("form i").count() == 0, "no face of FER2013 travels with the report"
        assert wrong == []


def test_title_and_note_of_a_figure_are_seen_in_jupyterlab(browser, tmp_path):
    """JupyterLab hands the figure's own format to the same plotly."""
    cells = metrics.cells(np.eye(7, dtype=int))
    history = {key: [0.5, 0.6] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}
    shown = [
        figures.confusion_matrix(cells, EMOTIONS, "a title", "a note"),
        figures.history_curves({"a": history}, "a title\na note"),
    ]
    path = tmp_path / "lab.html"
    for figure in shown:
        format = json.dumps(figure._repr_mimebundle_()["application/vnd.plotly.v1+json"])
        draw = f"<div id='f'></div><script>Plotly.newPlot('f', {format})</script>"
        path.write_text(f"<meta charset='utf-8'><script>{get_plotlyjs()}</script>{draw}", "utf-8")
        with opened(browser) as (tab, _):
            tab.goto(path.as_uri())
            box = tab.locator("#f").bounding_box()
            title, note = (tab.locator(f".{name}") for name in ("gtitle", "gtitle-subtitle"))
            expect(title).to_have_text("a title")
            expect(note).to_have_text("a note")
            upper, lower = title.bounding_box(), note.bounding_box()
            assert box["y"] <= upper["y"]
            assert upper["y"] + upper["height"] <= lower["y"] + 1
            assert lower["y"] + lower["height"] <= tab.locator(".bglayer").bounding_box()["y"]


def test_what_was_chosen_and_what_is_told_agree_after_going_back(html, browser):
    with opened(browser, html / "book" / "confusion.html") as (tab, _):
        tab.locator(".hw3-cell select").first.select_option("Angry")
        visit(tab, html / "book" / "complexity.html")
        for name, value in {"n": 8, "k": 2, "p": 0, "s": 3, "c_in": 5, "c_out": 6}.items():
            tab.fill(f".hw3-calculator [name={name}]", str(value))
        visit(tab, html / "book" / "pca.html")
        tab.go_back()
        parameters = complexity.convolution_cost(**complexity.LAYERS["A"]).parameters
        chosen = tab.locator(".hw3-calculator [name=c_out]").input_value()
        told = tab.locator(".hw3-calculator dd").nth(1)
        assert chosen == "6", "the browser restores it"
        expect(told).to_have_text(str(parameters))
        tab.go_back()
        assert tab.locator(".hw3-cell select").first.input_value() == "Angry"
        expect(tab.locator(".hw3-cell [role=status]").first).to_contain_text("True Angry, ")


def test_plot_in_space_is_seen_from_its_edge_and_back(html, browser):
    with opened(browser, html / "book" / "pca.html") as (tab, wrong):
        lies = """() => {
            const {eye, up} = document.querySelector(".js-plotly-plot").layout.scene.camera;
            // 0 where the eye lies in the plane
            return up ? Math.abs(eye.x * up.x + eye.y * up.y + eye.z * up.z) : NaN;
        }"""
        tab.get_by_role("button", name="Seen from its edge").press("Enter")
        tab.wait_for_function(f"({lies})() < 1e-9")
        tab.get_by_role("button", name="Seen as at first").press("Enter")
        tab.wait_for_function(f"({lies})() > 0.2")
        assert wrong == []


def test_wheel_over_a_plot_in_space_moves_the_page(html, browser):
    with opened(browser, html / "book" / "pca.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        plot = tab.locator(".js-plotly-plot").first
        plot.scroll_into_view_if_needed()
        box, before = plot.bounding_box(), tab.evaluate("scrollY")
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.mouse.wheel(0, 200)
        tab.wait_for_function("before => scrollY > before + 100", arg=before)


def test_curves_tell_the_values_of_the_epoch_pointed_at(html, browser, own):
    with opened(browser, html / "book" / "cnn.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        tab.wait_for_function(SETTLED)
        recorded, yours = tab.locator(".js-plotly-plot").all()

        def told_at(plot, epoch):
            plot.scroll_into_view_if_needed()
            at = tab.evaluate(
                """([p, epoch]) => {
                    const b = p.getBoundingClientRect(), {xaxis: x, yaxis2: y} = p._fullLayout;
                    return [b.left + x._offset + x.d2p(epoch), b.top + y._offset + y._length / 2];
                }""",
                [plot.element_handle(), epoch],
            )
            tab.mouse.move(*at, steps=3)
            expect(plot.locator(".hoverlayer .legendtitletext")).to_have_text(f"epoch {epoch}")
            return " ".join(plot.locator(".hoverlayer text").all_text_contents())

        log = original.history("cnn")
        assert (len(log["loss"]), len(own.history["loss"])) == (200, 2)
        told = told_at(recorded, 202)
        assert "recorded" in told
        assert "original CNN" not in told, "it has no epoch 202"
        shown = [(told_at(recorded, 4), "original CNN", log, 4)]
        shown.append((told_at(yours, 2), "your own", own.history, 2))
        for told, name, history, epoch in shown:
            for part, key in (("held-out", "val_accuracy"), ("training", "accuracy")):
                assert f"{history[key][epoch - 1]:.1%} {name}, {part}" in told


def test_every_plot_has_its_text_without_scripts(html, browser):
    context, count = browser.new_context(java_script_enabled=False), 0
    tab = context.new_page()
    for name in chapters.ORDER:
        tab.goto((html / "book" / f"{name}.html").as_uri())
        plots = tab.locator(".plotly-graph-div").count()
        texts = tab.locator(".hw3-interactive p.hw3-text:visible")
        shown = tab.locator(".hw3-interactive[role=figure]")
        labels = [figure.get_attribute("aria-label") for figure in shown.all()]
        assert texts.all_inner_texts() == labels
        assert len(labels) == plots
        assert all(len(label) > 100 for label in labels)
        assert all(text.bounding_box()["height"] > 10 for text in texts.all())
        assert tab.locator(".hw3-plot:visible, .hw3-cell:visible, .hw3-note:visible").count() == 0
        count += plots
    context.close()
    assert count >= 10


def test_plots_follow_the_theme(html, browser):
    with opened(browser, html / "book" / "confusion.html") as (tab, _):
        for theme in ("dark", "light"):
            tab.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            tab.wait_for_function(
                """() => [...document.querySelectorAll(".hw3-plot")].every(box =>
                [...box.querySelectorAll(".xtick text, .heatmap-label text")].every(
                    e => getComputedStyle(e).fill === getComputedStyle(box).color))"""
            )
            assert tab.locator(".heatmap-label").count() == 2 * 49
            assert barriers(tab, ["color-contrast"]) == []


def test_plots_are_as_wide_as_their_boxes_also_without_the_sidebar(html, browser):
    """A plot that is wider is cut off at the right; the window's own size does not change here."""
    context = browser.new_context(viewport=WIDE, color_scheme="dark", reduced_motion="reduce")
    tab = context.new_page()
    tab.goto((html / "book" / "results.html").as_uri())
    tab.wait_for_function(SETTLED)
    before = tab.evaluate("document.querySelector('.hw3-plot').clientWidth")
    tab.locator("button.primary-toggle:visible").click()
    tab.wait_for_function(
        "before => document.querySelector('.hw3-plot').clientWidth > before + 100", arg=before
    )
    tab.wait_for_function(SETTLED)
    assert tab.locator(".hw3-plot").count() == 1
    context.close()


def test_no_button_of_a_plot_sends_it_to_another_host(html, browser):
    with opened(browser, html / "book" / "pca.html") as (tab, _):
        buttons = tab.locator(".modebar-btn").evaluate_all(
            "all => all.map(button => button.dataset.title)"
        )
        assert len(buttons) > 4
        assert [name for name in buttons if re.search("(?i)share|cloud|studio", name)] == []


def test_chapter_4_answers_all_three_parts_on_its_first_screen(html, browser):
    with opened(browser, html / "book" / "complexity.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        for part in ("table", "[id$=eq-time]", "[id$=eq-space]"):
            box = tab.locator(f"article {part}").first.bounding_box()
            assert 0 < box["y"] < box["y"] + box["height"] < WIDE["height"], part


def test_chapter_2_answers_on_its_first_screen(html, browser):
    with opened(browser, html / "book" / "dnn.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        box = tab.locator("article ul:has(> li > p) > li").nth(2).bounding_box()
        assert 0 < box["y"] < box["y"] + box["height"] < WIDE["height"]


def test_no_space_follows_a_full_stop_in_the_head_of_a_chinese_page(soups, html):
    for name in chapters.ORDER:
        text = soups[html / "zh" / "book" / f"{name}.html"].select_one("p.hw3-head").text
        assert "。" in text
        assert "。 " not in text


def test_calculator_shows_its_first_layer_without_scripts(html, browser):
    path = html / "book" / "complexity.html"
    scriptless = browser.new_context(java_script_enabled=False).new_page()
    scriptless.goto(path.as_uri())
    with opened(browser, path) as (tab, _):
        plain, live = (
            place.locator(".hw3-calculator dd").all_inner_texts() for place in (scriptless, tab)
        )
        assert len(plain) == len(live) == 7
        assert plain[:5] == live[:5]
        assert [re.fullmatch(r"[\d,]+ bytes", size) is not None for size in plain[5:]] == [
            True,
            True,
        ]
    scriptless.context.close()
