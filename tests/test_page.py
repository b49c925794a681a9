"""The built pages, as files and in a browser: what a reader sees, reaches by keyboard, hears read out and has to load."""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from hw3 import book, page, runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND"]  # no host to reach
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}  # CSS pixels
# What assistive technology reads of a formula is MathML, which axe-core has no rules for; it takes seconds on its glyphs.
AXE = {"exclude": [["mjx-container"]]}

# Resolves when all that a page's scripts make is there: formulas, turning plots, images.
DRAWN = """async () => {
    const end = performance.now() + 20000;
    const until = async ready => { while (!ready() && performance.now() < end) await new Promise(requestAnimationFrame); };
    await until(() => !document.querySelector(".math") || window.MathJax?.startup?.promise);
    await window.MathJax?.startup?.promise;
    for (const plot of document.querySelectorAll(".js-plotly-plot")) await until(() => plot.querySelector(".main-svg"));
    for (const image of document.images) image.loading = "eager";
    await Promise.allSettled([...document.images].map(image => image.decode()));
    await document.fonts.ready;
}"""
FOUND = """() => {
    const seen = e => e.checkVisibility({visibilityProperty: true});
    const told = e => (e.closest("[aria-label]")?.getAttribute("aria-label") || "").trim();
    const drawn = p => p.querySelector(".main-svg") && p.clientHeight;
    const unreachable = e => seen(e) && e.tabIndex < 0 && !e.disabled;
    const operable = "a[href], button, input, select, textarea, summary, [role=button]";
    return {
        links: [...document.links].map(a => a.href),
        ids: [...document.querySelectorAll("[id]")].map(e => e.id),
        formulas: [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container")).map(e => e.textContent),
        failed: [...document.querySelectorAll("mjx-merror")].map(e => e.textContent),
        empty: [...document.images].filter(i => !i.naturalWidth || (seen(i) && !i.width)).map(i => i.src),
        silent: [...document.images].filter(i => !/ /.test(i.alt) || /\\.(png|svg|jpe?g)$/.test(i.alt)).map(i => i.src),
        plots: [...document.querySelectorAll(".js-plotly-plot")].filter(p => !drawn(p) || !told(p)).map(p => p.id),
        skipped: [...document.querySelectorAll(operable)].filter(unreachable).map(e => e.outerHTML),
    };
}"""
# The page is moved sideways as far as it goes; then what stands too far right is named, but for boxes that scroll themselves.
TOO_WIDE = """() => {
    scrollTo(9999, 0); document.body.scrollLeft = 9999;
    const moved = scrollX + document.body.scrollLeft;
    scrollTo(0, 0); document.body.scrollLeft = 0;
    const boxed = e => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || boxed(e.parentElement));
    return !moved ? [] : [`by ${moved} px`, ...[...document.body.querySelectorAll("*")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !boxed(e)).map(e => e.outerHTML.slice(0, 80))];
}"""


@pytest.fixture(scope="module")  # Playwright runs once in a process at a time, and the PDF's tests print with it too
def browser():
    """Return Chromium, one for all pages. In CI it must be there."""
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, path):
    """Open a page from disk as a first-time reader does; yield it, and the list of what goes wrong from then on."""
    context = browser.new_context(viewport=NARROW, color_scheme="light", reduced_motion="reduce")
    tab, wrong = context.new_page(), []
    tab.on("console", lambda message: message.type == "error" and wrong.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    tab.on("request", lambda request: request.url.startswith("http") and wrong.append(f"asks another host: {request.url}"))
    tab.on("requestfailed", lambda request: wrong.append(f"not loaded: {request.url}"))
    tab.goto(path.as_uri())
    tab.evaluate(DRAWN)
    yield tab, wrong
    context.close()


def barriers(tab, rules=None):
    """Return what axe-core finds serious or critical, by all its rules or some."""
    options = {"resultTypes": ["violations"], "preload": False} | ({"runOnly": rules} if rules else {})  # preload would fetch
    found = Axe().run(tab, AXE, options).response["violations"]
    bad = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [f"axe: {rule['id']}: {node['html'][:120]}" for rule in bad for node in rule["nodes"]]


def look(browser, path):
    """Look at a page narrow and wide, in light and dark. Return what is wrong, its ids, its links, and seconds to first paint."""
    with opened(browser, path) as (tab, wrong):
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime / 1000")
        found = SimpleNamespace(**tab.evaluate(FOUND))
        kinds = {"formulas": "no formula", "failed": "formula", "empty": "no image", "silent": "no alternative text"}
        kinds |= {"plots": "no plot or no label", "skipped": "not reached by keyboard"}
        wrong += [f"{kind}: {what[:120]}" for name, kind in kinds.items() for what in getattr(found, name)]
        wrong += [f"360 px, light: too wide: {what}" for what in tab.evaluate(TOO_WIDE)]
        wrong += [f"360 px {what}" for what in barriers(tab, ["scrollable-region-focusable"])]
        tab.emulate_media(color_scheme="dark")
        wrong += [f"360 px, dark: too wide: {what}" for what in tab.evaluate(TOO_WIDE)]
        tab.set_viewport_size(WIDE)
        wrong += [f"dark {what}" for what in barriers(tab, ["color-contrast"])]
        tab.emulate_media(color_scheme="light")
        wrong += barriers(tab)
        return wrong, found.ids, found.links, paint


def broken(pages):
    """Return the internal links that lead nowhere. pages maps the path of a page to (its ids, its links)."""
    ids = {path.as_uri(): found for path, (found, _) in pages.items()}
    lost = []
    for path, (_, links) in pages.items():
        for link in links:
            address, _, anchor = link.partition("#")
            if link.startswith("file:") and not (
                anchor in ids[address] if anchor and address in ids else Path(unquote(urlsplit(address).path)).is_file()
            ):
                lost.append(f"{path.name}: {link}")
    return lost


@pytest.fixture(scope="session")
def html(built):
    return built[0] / "html"


def test_every_page_in_a_browser(html, browser, capsys):
    paths = [p for p in sorted(html.rglob("*.html")) if "_static" not in p.relative_to(html).parts and p != html / "index.html"]
    assert {f"{name}.html" for name in book.ORDER} <= {p.name for p in paths}
    seen, wrong, paints = {}, [], {}
    for path in paths:
        found, ids, links, paints[path.stem] = look(browser, path)
        seen[path] = ids, links
        wrong += [f"{path.relative_to(html)}: {what}" for what in found]
    assert wrong == []
    assert broken(seen) == []
    assert sum(len(links) for _, links in seen.values()) > 100
    with capsys.disabled():
        print("\nseconds to the first view: " + ", ".join(f"{name} {s:.2f}" for name, s in paints.items() if s))


def test_first_page_leads_to_the_front_page(html):
    text = (html / "index.html").read_text(encoding="utf-8")
    assert (html / re.search(r'http-equiv="Refresh" content="0; url=([^"]+)"', text).group(1)).is_file()


def test_browser_test_would_see_each_kind_of_defect(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><html lang=en><title>Bad</title><body><main><h1 id=top>Bad</h1><style>@media (prefers-color-scheme: dark)"
        "{p {background: #777; color: #888}}</style><img src='https://example.org/x.png' alt='a b'><img src=gone.png alt='a b'>"
        '<img src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\' alt=x.svg>'
        "<p>gray</p><button></button><div class=math>x</div><mjx-merror>y</mjx-merror><a href='#no'>1</a><a href=gone.html>2</a>"
        "<a href='#top'>3</a><a href=bad.html tabindex=-1>4</a><div style='width: 500px'>wide</div><div class=js-plotly-plot>"
        "<b class=main-svg></b></div></main><script>window.MathJax = {startup: {promise: 0}}; console.error('oh')</script></html>"
    )
    wrong, ids, links, _ = look(browser, bad)
    expected = {
        "asks another host: https://example.org/x.png", "console: oh", "not loaded: .*gone.png", "no image: .*gone.png",
        "no alternative text: data:.*", "no formula: x", "formula: y", "no plot or no label: ",
        "not reached by keyboard: .*>4<.*", "axe: button-name: .*", "dark axe: color-contrast: .*gray.*",
        "360 px, dark: too wide: .*", "360 px, light: too wide: .*",
    }  # fmt: skip
    assert [pattern for pattern in expected if not any(re.fullmatch(pattern, what) for what in wrong)] == []
    assert [link.rpartition("/")[2] for link in broken({bad: (ids, links)})] == ["bad.html#no", "gone.html"]


def test_tab_key_goes_through_a_whole_page(html, browser):
    """From the first Tab on, each thing that can be operated gets the focus, and shows it."""
    with opened(browser, html / "book" / "complexity.html") as (tab, _):
        tab.set_viewport_size(WIDE)
        expected = tab.evaluate(
            """() => [...document.querySelectorAll("main a[href], main button, main input, main summary")]
            .filter(e => e.checkVisibility({visibilityProperty: true})).map((e, i) => e.dataset.stop = `${i}`)"""
        )
        reached, hidden = set(), []
        for _ in range(300):
            tab.keyboard.press("Tab")
            stop, name, *look = tab.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                return [e.dataset.stop, e.outerHTML.slice(0, 150), s.outlineStyle, s.boxShadow, s.textDecorationLine]; }"""
            )
            reached.add(stop)
            hidden += [name] * (stop is not None and look == ["none"] * 3)
        assert len(expected) > 20
        assert [stop for stop in expected if stop not in reached] == []
        assert hidden == []


def test_pages_are_small(html):
    files = [p for p in html.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 35e6, sorted((p.stat().st_size, p.name) for p in files)[-5:]
    assert [p.name for p in files if p.suffix == ".html" and p.stat().st_size > 1.5e6] == []


def test_nothing_that_a_page_uses_is_removed(tmp_path):
    static = tmp_path / "_static"
    kept = ["mathjax/tex-chtml.js", "mathjax/output/chtml/fonts/woff-v2/a.woff", "scripts/a.js", "a.css", "vendor/a.woff2"]
    gone = ["mathjax/sre/a.json", "mathjax/output/svg.js", "scripts/a.js.map", "locales/zh/a.mo", "vendor/a.ttf"]
    for name in kept + gone:
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).touch()
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html", name="html"))
    page.remove_unused(app, ValueError("the build failed"))
    assert all((static / name).exists() for name in kept + gone)
    page.remove_unused(app, None)
    assert sorted(p.relative_to(static).as_posix() for p in static.rglob("*") if p.is_file()) == sorted(kept)
    assert not (static / "locales").exists()


def test_figures_of_earlier_builds_are_removed(tmp_path):
    old, new, other = (f"{letter * 64}.png" for letter in "abc")
    for name in (old, new, "photo.png"):
        (tmp_path / name).touch()
    env = SimpleNamespace(images={"x": ({"book/cnn"}, new), "y": ({"book/cnn"}, other)})
    page.remove_old_figures(SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html", imagedir=""), env=env), None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [new, "photo.png"]


def test_every_figure_of_every_chapter_has_alternative_text(built):
    figures = []
    for name in book.ORDER:
        for cell in nbformat.read(built[0] / "executed" / f"{name}.ipynb", as_version=4).cells:
            shown = [out for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
            figures += [(name, cell.id, out.metadata.get("image/png", {}).get("alt", "")) for out in shown]
    assert len(figures) > 15
    assert [figure for figure in figures if len(figure[2]) < 40] == []


def told(recorded, own):
    names = "data", "profile", "device", "date"
    return {"recorded": dict(zip(names, recorded, strict=True)), "own": dict(zip(names, own, strict=True))}


def test_head_names_the_runs_and_the_chapter():
    recorded = ["FER2013"], ["cpu", "full"], ["CPU A", "1 GPU B"], ["2026-01-02", "2026-01-03", "2026-01-04"]
    own = ["drawn faces"], ["smoke"], ["CPU A"], ["2026-02-01"]
    line = page.head(told(recorded, own), page.HEAD, "cnn.ipynb").astext()
    assert line == (
        "Recorded: FER2013, profile cpu / full, CPU A / 1 GPU B, 2026-01-02 / 2026-01-04. "
        "This build: drawn faces, profile smoke, CPU A, 2026-02-01. Open in JupyterLab: make lab, then cnn.ipynb."
    )
    other = {"recorded": "{date} {data}", "own": "own {data}", "edit": "{file}: {command}!"}
    assert page.head(told(([],) * 4, own), other, "x").astext() == "own drawn faces x: make lab!"


def test_every_page_says_which_runs_it_shows(html):
    for name in book.ORDER:
        text = (html / "book" / f"{name}.html").read_text(encoding="utf-8")
        line = re.search(r'</h1>\s*<p class="hw3-head">(.*?)</p>', text).group(1)
        assert re.search(r"This build: drawn faces, profile smoke, \S.*, 20\d\d-\d\d-\d\d\.", line)
        assert ("Recorded: FER2013" in line) == ("runs.recorded(" in (runs.ROOT / "book" / f"{name}.ipynb").read_text())
        assert f"{name}.ipynb" in line


def test_process_tells_the_runs_it_used(monkeypatch):
    def run(profile, date):
        return SimpleNamespace(data="FER2013", recipe=SimpleNamespace(profile=profile), device="CPU A", date=f"{date}T03:04:05")

    used = {"recorded": [run("full", "2026-01-03"), run("cpu", "2026-01-02"), run("cpu", "2026-01-02")], "own": []}
    monkeypatch.setattr(runs, "SHOWN", used)
    assert runs.shown()["recorded"] == {
        "data": ["FER2013"], "profile": ["cpu", "full"], "device": ["CPU A"], "date": ["2026-01-02", "2026-01-03"],
    }  # fmt: skip
    assert runs.shown()["own"]["data"] == []
    assert len(runs.shown()["own"]["device"]) == 1
    used["own"].append(run("smoke", "2026-02-01"))
    assert runs.shown()["own"] == told(([],) * 4, (["FER2013"], ["smoke"], ["CPU A"], ["2026-02-01"]))["own"]


def test_notebooks_can_be_downloaded(html):
    for name in book.ORDER:
        text = (html / "book" / f"{name}.html").read_text(encoding="utf-8")
        link = re.search(r'<a href="([^"]+\.ipynb)"', text).group(1)
        notebook = nbformat.read(html / "book" / link, as_version=4)
        assert notebook.cells[0].source.startswith("# ")
