"""The PDF: two small chapters are printed once, and looked at with pypdf."""

import base64
import io
import re
import shutil

import nbformat
import plotly.graph_objects as go
import pypdf
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from playwright.sync_api import sync_playwright

from hw3 import faces, runs
from hw3.runs import ROOT
from hw3.show import Interactive
from press import __main__ as cli
from press import build as book
from press import chapters, pdf
from press.chapters import BuildError

FACTS = {
    "data": "three drawn <faces>",
    "profile": "smoke",
    "trained on": "an abacus",
    "printed on": "2018-05-01",
}
HEADINGS = [  # level, title
    (1, "The “whole” story"),
    (2, "A figure"),
    (1, "Second chapter"),
    (2, "A figure"),
    (2, "An n of formulas"),
    (2, "Numbers"),
]
WIDE = "<table><tr>" + "".join(f"<th>column-number-{i}</th>" for i in range(30)) + "</tr></table>"
LONG = " + ".join(f"x_{{{i}}}^{{2}}" for i in range(60))
BELOW = "<form class=no-print>point at it<script>document.body.remove()</script></form>"
CODE = "value = [" + ", ".join(f"'word{i}'" for i in range(60)) + "]"


def png(width, height):
    """Return a PNG of many grays in base64."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def figure(width, height):
    return new_output("display_data", {"image/png": png(width, height)})


def html(text):
    return new_output("display_data", {"text/html": text})


def plot(trace, label, **layout):
    """Return the output of a figure that answers to pointing."""
    drawn = go.Figure(trace).update_layout(margin={"l": 60, "r": 0, "t": 0, "b": 60}, **layout)
    return html(Interactive(drawn, label, "a note", BELOW)._repr_mimebundle_()["text/html"])


def code(source, *outputs, tags=()):
    return new_code_cell(
        source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)}
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Build two executed chapters with this book's own settings; return their pages."""
    folder = tmp_path_factory.mktemp("source")
    config = (
        (ROOT / "_config.yml")
        .read_text()
        .replace("execute_notebooks: auto", 'execute_notebooks: "off"')
    )
    (folder / "_config.yml").write_text(config.replace("Seven emotions", "Two <chapters>"))
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/first\nchapters:\n  - file: book/second\n"
    )
    (folder / "book").mkdir()
    shutil.copy(ROOT / "book" / "references.bib", folder / "book")
    first = [
        new_markdown_cell(
            "# The “whole” story\n\nSee [the figure](#picture) and [the other](second.ipynb)."
        ),
        new_markdown_cell(
            "(picture)=\n## A figure\n\n" + "\n\n".join("A line." for _ in range(30))
        ),
        code("draw()", figure(1500, 1200)),
        new_markdown_cell(
            '<div class="no-print">only on the screen</div>\n\n'
            '<div class="print-only">only on paper</div>'
        ),
    ]
    second = [
        new_markdown_cell(
            "# Second chapter\n\n## A figure\n\n" + "\n\n".join("A line." for _ in range(25))
        ),
        code("secret = 1", figure(900, 900), tags=["hide-input"]),
        new_markdown_cell(
            f"## An $n$ of formulas\n\n$$\nS = {LONG}\n$$\n\nand $\\frac{{1}}{{2}}$."
        ),
        new_markdown_cell("## Numbers\n\n```{dropdown} Folded\nthe solution\n```"),
        code(CODE, html(WIDE)),
        code(
            "plot()",
            plot(
                go.Scatter(x=[1, 2], y=[3, 4], line={"color": "#123456"}),
                "plot",
                xaxis={"title": "across the page"},
                yaxis={"title": "up the page"},
            ),
        ),
        code("space()", plot(go.Scatter3d(x=[1, 2], y=[3, 4], z=[5, 6]), "in space", height=160)),
    ]
    python = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    for name, cells in (("first", first), ("second", second)):
        nbformat.write(
            new_notebook(cells=cells, metadata=python), folder / "book" / f"{name}.ipynb"
        )
    built = book.jupyter_book(folder, folder)
    return [built / "book" / f"{name}.html" for name in ("first", "second")]


@pytest.fixture(scope="module")
def printed(pages, tmp_path_factory):
    """Print the two chapters; return the path and the reader."""
    try:
        pdf.chromium()
    except BuildError:
        pytest.skip("no Chromium on this machine")
    target = tmp_path_factory.mktemp("printed") / "report.pdf"
    count = pdf.print_book(pages, target, "Two <chapters>", "an author", FACTS)
    reader = pypdf.PdfReader(target)
    assert count == len(reader.pages)
    return target, reader


def texts(reader):
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def outline(reader):
    """Return (level, title, page counted from 1) of the PDF's outline."""

    def walk(items, level=1):
        for item in items:
            if isinstance(item, list):
                yield from walk(item, level + 1)
            else:
                yield level, item.title, reader.get_destination_page_number(item) + 1

    return list(walk(reader.outline))


def test_outline_names_every_heading_and_its_page(printed):
    _, reader = printed
    found = outline(reader)
    assert [(level, title) for level, title, _ in found] == HEADINGS
    pages = [page for _, _, page in found]
    assert pages == sorted(pages)
    for _, title, page in found:
        assert title.partition(" n ")[0] in texts(reader)[page - 1], "where the heading stands"
    assert len(set(pages)) == 3, "else the next tests say little"


def test_table_of_contents_has_the_pages_of_the_outline_and_leads_there(printed):
    _, reader = printed
    contents = texts(reader)[1]
    for _, title, page in outline(reader):
        written = contents.find(
            f"{title.replace(' n ', ' ')} {page}"
        )  # the letter of a formula is drawn apart
        assert written > -1
        contents = contents[written:]
    links = [a.get_object() for a in reader.pages[1]["/Annots"]]
    led = [
        reader.get_destination_page_number(reader.named_destinations[link["/Dest"]]) + 1
        for link in links
    ]
    assert led == [page for _, _, page in outline(reader)]


def test_every_page_but_the_title_has_its_number_and_something_else(printed):
    _, reader = printed
    for number, (page, text) in enumerate(zip(reader.pages, texts(reader), strict=True), 1):
        words = text.split()
        assert len(words) > 3 or page.images
        assert (str(number) in words) == (number > 1)


def test_title_page_says_data_profile_device_and_date(printed):
    first = texts(printed[1])[0]
    assert "Two <chapters>" in first
    for name, fact in FACTS.items():
        assert name in first
        assert fact in first


def test_figures_are_whole(printed):
    """One that a page break cut would be drawn on two pages, one that was too large beyond the
    margins.
    """
    _, reader = printed
    drawn = []
    for page in reader.pages:

        def look(operator, operands, matrix, _, page=page):
            if (
                operator == b"Do"
                and page["/Resources"]["/XObject"][operands[0]]["/Subtype"] == "/Image"
            ):
                a, _, _, d, x, y = (float(value) for value in matrix)
                drawn.append((abs(a), abs(d), x, min(y, y + d)))

        page.extract_text(visitor_operand_before=look)
    assert len(drawn) == 3
    margin, (width, height) = 20 / 25.4 * 72 - 1, (float(v) for v in reader.pages[0].mediabox[2:])
    shapes = 1200 / 1500, 1, 0.85 * 160 / 642  # print.css has plots smaller
    for (w, h, x, y), shape in zip(drawn, shapes, strict=True):
        assert h / w == pytest.approx(shape, abs=0.01)
        assert margin < x < x + w < width - margin
        assert margin < y < y + h < height - margin


def test_plots_are_drawn_whole_and_in_vectors(printed):
    """The titles of a plot's axes are letters at its edges; its line has the color of no letter."""
    _, reader = printed
    (page,) = (page for page in reader.pages if "across the page" in page.extract_text())
    assert page.extract_text().count("a note") == 2, "below either plot"
    colors, places = set(), {}

    def look(operator, operands, *_):
        if operator == b"RG":
            colors.add(tuple(round(255 * float(value)) for value in operands))

    def read(text, cm, tm, *_):
        x, y = tm[4] * cm[0] + tm[5] * cm[2] + cm[4], tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
        places.update(dict.fromkeys(re.findall("across|up the", text), (x, y)))

    page.extract_text(visitor_operand_before=look, visitor_text=read)
    assert (0x12, 0x34, 0x56) in colors
    margin, (width, height) = 20 / 25.4 * 72 - 1, (float(v) for v in reader.pages[0].mediabox[2:])
    for x, y in places.values():
        assert margin < x < width - margin
        assert margin < y < height - margin
    assert places["up the"][0] < width / 4 < places["across"][0], "on the left, and in the middle"
    assert places["across"][1] < places["up the"][1]


def test_formulas_tables_and_code_end_before_the_margin(printed):
    _, reader = printed
    width, seen = float(reader.pages[0].mediabox.width), {}

    def look(text, cm, tm, *_):
        if text.strip():
            seen[text.strip()] = tm[4] * cm[0] + cm[4]

    for page in reader.pages:
        page.extract_text(visitor_text=look)
    assert max(seen.values()) < width - 20 / 25.4 * 72
    text = "".join(texts(reader)).replace(" ", "")
    assert all(f"column-number-{i}" in text for i in range(30))
    assert all(f"'word{i}'" in text for i in range(60))


def test_formulas_are_drawn_and_code_behind_sentences_is_left_out(printed):
    text = " ".join(texts(printed[1]))
    for source_text in (
        r"\(",
        r"\[",
        "frac",
        "x_",
        "secret",
        "only on the screen",
        "Show code",
        "point at it",
    ):
        assert source_text not in text
    assert "only on paper" in text
    assert "Folded the solution" in text


def test_fonts_are_embedded_and_no_path_of_the_machine_is_told(printed):
    target, reader = printed
    kinds = set()
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object()
            kinds.add(str(font["/Subtype"]))
            if font["/Subtype"] == "/Type3":  # its letters are drawings in the file
                assert font["/CharProcs"]
                continue
            inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(inner["/FontDescriptor"])
    assert "/Type0" in kinds
    links = [a.get_object() for page in reader.pages for a in page.get("/Annots", ())]
    assert len(links) == len(HEADINGS) + 2, "the table of contents, and the two links in the text"
    assert all("/Dest" in link for link in links)
    assert b"file:" not in target.read_bytes()


def test_figures_and_formulas_have_alternative_text(printed):
    _, reader = printed
    numbers = range(1, reader.trailer["/Size"])
    kept = [pypdf.generic.IndirectObject(number, 0, reader).get_object() for number in numbers]
    alternatives = [
        entry.get("/Alt")
        for entry in kept
        if isinstance(entry, dict) and entry.get("/S") == "/Figure"
    ]
    assert "plot a note" in alternatives
    assert "in space a note" in alternatives
    assert r"\frac{1}{2}" in alternatives


def test_title_language_tags_and_size(printed):
    target, reader = printed
    assert reader.metadata.title == "Two <chapters>"
    assert reader.metadata.author == "an author"
    assert reader.page_mode == "/UseOutlines"
    assert reader.root_object["/Lang"] == "en"
    assert reader.root_object["/MarkInfo"]["/Marked"]
    assert target.stat().st_size < 500_000


def test_figures_keep_their_look_and_size_with_a_palette(printed):
    _, reader = printed
    for page in reader.pages:
        for image in page.images:
            colors = image.indirect_reference.get_object()["/ColorSpace"]
            assert colors[0] == "/Indexed"
            assert len(colors[3]) == 3 * (colors[2] + 1), "else viewers show no picture"
    image = next(image.image.convert("L") for page in reader.pages for image in page.images)
    assert image.width == 1500, "as fine as on the page"
    for y in (0.1, 0.5, 0.9):  # a linear gradient from black to white
        assert image.getpixel((image.width // 2, int(y * image.height))) == pytest.approx(
            255 * y, abs=4
        )


def test_too_large_pdf_and_failed_printing_are_one_line_and_leave_the_old_one(
    printed, pages, tmp_path, monkeypatch
):
    target = tmp_path / "report.pdf"
    target.write_bytes(b"old")
    raw = printed[0].read_bytes()
    given = pages, target, "Two <chapters>", "an author", FACTS
    with monkeypatch.context() as patch:
        patch.setattr(pdf, "MOST_BYTES", 1000)
        patch.setattr(pdf, "chromium_pdf", lambda page: raw)
        with pytest.raises(BuildError, match=r"report\.pdf would have .* MB, more than"):
            pdf.print_book(*given)
    with monkeypatch.context() as patch:
        patch.setattr(pdf, "chromium", lambda: shutil.which("false"))
        with pytest.raises(BuildError, match="could not print"):
            pdf.print_book(*given)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.pdf"]


def test_page_that_a_reader_prints_shows_solutions_and_no_button_and_breaks_no_code(pages):
    try:
        start = {"executable_path": pdf.chromium(), "args": pdf.FLAGS}
    except BuildError:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as driver, driver.chromium.launch(**start) as browser:
        tab = browser.new_page(java_script_enabled=False)
        tab.goto(pages[1].as_uri())
        assert "Show code" in tab.inner_text("article")
        tab.emulate_media(media="print")
        assert "Show code" not in tab.inner_text("article")
        assert "the solution" in tab.inner_text("article")
        kept = "getComputedStyle(document.querySelector('{}')).breakInside"
        for whole in (".cell_input", ".hw3-interactive", "article img", "article table"):
            assert tab.evaluate(kept.format(whole)) == "avoid"


def test_page_with_a_missing_figure_is_not_printed(tmp_path):
    try:
        pdf.chromium()
    except BuildError:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "page.html"
    page.write_text(
        f"<title>t</title><script src={pdf.HERE.as_uri()}/print.js></script><p>text</p>"
    )
    assert pdf.chromium_pdf(page).startswith(b"%PDF")
    page.write_text(page.read_text() + "<img src=nowhere.png>")
    with pytest.raises(BuildError, match=r"a figure of page\.html is missing"):
        pdf.chromium_pdf(page)


def test_without_chromium_it_says_so_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "MAC", str(tmp_path / "none"))
    monkeypatch.setattr(
        book, "build", lambda *_: pytest.fail("built a book that cannot be printed")
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main(["pdf", "--profile", "smoke"])
    assert re.fullmatch(r"hw3: .*Chromium.*install one.*", stopped.value.code)
    assert not runs.build_dir().exists()


def test_command_builds_the_book_with_its_options_and_says_what_it_made(few, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(pdf, "chromium", lambda: "chromium")
    monkeypatch.setattr(book, "build", lambda *options: asked.append(options))
    monkeypatch.setattr(faces, "find", lambda data: few)
    monkeypatch.setattr(runs, "load", lambda folder: type("Run", (), {"device": "an abacus"}))

    def fake(pages, target, title, author, facts):
        html = runs.build_dir() / "html" / "book"
        assert pages == [html / f"{name}.html" for name in chapters.ORDER]
        assert (title, author) == ("Seven emotions", "the authors of hw3")
        assert facts | {"printed on": ""} == {
            "data": "test faces, n = 300",
            "profile": "smoke",
            "trained on": "an abacus",
            "printed on": "",
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes(1_250_000))
        return 7

    monkeypatch.setattr(pdf, "print_book", fake)
    html = runs.build_dir() / "html"
    for name in ("index.html", "zh/book/cnn.html"):
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text("<header>A<!-- report.pdf --></header>")
    cli.main(["pdf", "--profile", "smoke", "--data", "faces.csv", "--set", "epochs=1"])
    assert asked == [("smoke", "faces.csv", False, None, ["epochs=1"])]
    assert capsys.readouterr().out == f"{runs.build_dir() / 'report.pdf'}: 7 pages, 1.2 MB\n"
    assert (html / "report.pdf").stat().st_size == 1_250_000
    for name, link in (("index.html", "report.pdf"), ("zh/book/cnn.html", "../../report.pdf")):
        assert f' href="{link}" ' in (html / name).read_text()
