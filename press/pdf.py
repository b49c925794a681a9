"""The report as one PDF: the built pages in one document, on A4 with a table of contents, printed
by headless Chromium: once to find the pages of the headings, and again with their numbers.
"""

import html
import io
import logging
import shutil
import tempfile
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from string import Template

import pypdf
from bs4 import BeautifulSoup
from PIL import Image
from playwright.sync_api import Error as DriverError
from playwright.sync_api import sync_playwright
from pypdf.generic import ArrayObject, ByteStringObject, NameObject, NumberObject

from hw3 import faces, recipes, runs
from hw3.disk import build_dir, locked, write_atomically
from press import build as book
from press.chapters import ORDER, BuildError, read_settings

MOST_BYTES = 5_000_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# pictures and scripts from files; WebGL, for plots in space, without a graphics card
FLAGS = ["--no-sandbox", "--allow-file-access-from-files", "--enable-unsafe-swiftshader"]
# what a reader of paper cannot use
USELESS = ".headerlink, .no-print, script[src], .tag_hide-input > details, .tag_hide-cell"
logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of things that it mends itself
HERE = Path(__file__).parent
# with formulas as curves, without seams in brackets; the pages have them as letters
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).with_name("static").as_uri()


def chromium() -> str:
    """Return the path of Chromium or Chrome. Raises BuildError where there is none."""
    found = [*filter(None, map(shutil.which, (*NAMES, MAC)))]
    if not found:
        need = "the PDF is printed by Chromium or Chrome, and neither is found"
        raise BuildError(f"{need}: install one, then run this again")
    return found[0]


def lay_out(pages: list[Path], title: str, facts: dict[str, str]) -> str:
    """Return the HTML to print: a title page with facts, room for the contents, and built pages."""
    main, settings, place = "", {}, pages[0].parents[1].as_uri()
    for page in pages:
        soup = BeautifulSoup(page.read_bytes(), "html.parser")
        settings |= {str(s): None for s in soup.head("script") if "MathJax" in s.text}
        chapter = soup.select_one("article section")
        for useless in chapter.select(USELESS):
            useless.extract()
        own_ids(chapter, page.stem, [page.stem for page in pages])
        main += f'<div class="chapter" id="{page.stem}">{chapter}</div>'
    lines = "".join(f"<dt>{k}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    texts = {"title": html.escape(title), "facts": lines, "settings": "".join(settings)}
    texts |= {"main": main.replace("../_", f"{place}/_"), "place": place, "press": HERE.as_uri()}
    template = Template((HERE / "print.html").read_text(encoding="utf-8"))
    return template.substitute(texts, mathjax=MATHJAX)


def own_ids(chapter, name: str, names: list[str]) -> None:
    """Put a page's name before its ids, which two pages may share, and have links lead there.

    names are those of all pages. Links to other files become text.
    """
    for tag in [chapter, *chapter.select("[id]:not(.cell_output [id])")]:
        tag["id"] = f"{name}-{tag['id']}"
    for link in chapter.select("a[href]"):
        page, _, anchor = link["href"].partition("#")
        page = page.removesuffix(".html") or name
        if page in names:
            link["href"] = f"#{page}-{anchor}" if anchor else f"#{page}"
        elif not page.startswith("http"):
            link.unwrap()


def chromium_pdf(page: Path) -> bytes:
    """Print an HTML file once print.js says that all is drawn; BuildError where that fails."""
    start = {"executable_path": chromium(), "args": FLAGS}
    options = dict.fromkeys(("prefer_css_page_size", "print_background", "tagged", "outline"), True)
    try:
        with sync_playwright() as driver, driver.chromium.launch(**start) as browser:
            tab = browser.new_page()
            tab.set_default_timeout(300_000)  # milliseconds
            tab.goto(page.as_uri())
            tab.wait_for_function("globalThis.whole !== undefined")
            if not tab.evaluate("whole"):
                raise BuildError(f"a figure of {page.name} is missing; run this again")
            first = pypdf.PdfReader(io.BytesIO(tab.pdf(**options)))
            marks = first.named_destinations.items()
            numbers = {key: first.get_destination_page_number(mark) + 1 for key, mark in marks}
            tab.evaluate("fillContents", numbers)
            return tab.pdf(**options)
    except DriverError as error:
        why = error.message.strip().splitlines()[0]
        raise BuildError(f"Chromium could not print {page.name}: {why}") from None


def few_colors(page) -> None:
    """Give pictures of a PDF's page a palette: one byte a pixel, where Chromium stores three."""
    for kept in page["/Resources"].get("/XObject", {}).values():
        picture = kept.get_object()
        size = picture.get("/Width", 0), picture.get("/Height", 0)
        if 0 < len(picture.get_data()) == 3 * size[0] * size[1]:  # else gray, a form, or done
            image = Image.frombytes("RGB", size, picture.get_data()).quantize(256, dither=0)
            palette = ByteStringObject(image.getpalette())
            last = NumberObject(len(palette) // 3 - 1)
            space = [NameObject("/Indexed"), NameObject("/DeviceRGB"), last, palette]
            picture[NameObject("/ColorSpace")] = ArrayObject(space)
            picture.set_data(image.tobytes())


def print_book(pages: list[Path], target: Path, title: str, author: str, facts: dict) -> int:
    """Print built pages of a book; return how many pages the PDF has.

    target is written whole or not at all; facts are the lines of the title page. Raises BuildError
    where Chromium fails or the PDF is too large.
    """
    with tempfile.TemporaryDirectory() as folder:
        laid_out = Path(folder) / "print.html"
        laid_out.write_text(lay_out(pages, title, facts), encoding="utf-8")
        writer = pypdf.PdfWriter(clone_from=io.BytesIO(chromium_pdf(laid_out)))
    for page in writer.pages:
        few_colors(page)
    writer.add_metadata({"/Author": author})
    writer.page_mode = "/UseOutlines"
    out = io.BytesIO()
    writer.write(out)
    if out.tell() > MOST_BYTES:
        size, most = f"{out.tell() / 1e6:.1f} MB", f"{MOST_BYTES / 1e6:.1f} MB"
        raise BuildError(f"{target.name} would have {size}, more than {most}")
    write_atomically(target, lambda file: file.write(out.getvalue()))
    return len(writer.pages)


def offer(pdf: Path, html: Path) -> None:
    """Put a PDF beside the front page, and a link to it into the head of each page."""
    shutil.copyfile(pdf, html / pdf.name)
    for path in html.rglob("*.html"):
        up = "../" * (len(path.relative_to(html).parts) - 1)
        link = f'<a class="btn btn-sm hw3-language" href="{up}{pdf.name}" hreflang="en">PDF</a>'
        page = path.read_text(encoding="utf-8").replace(f"<!-- {pdf.name} -->", link)
        path.write_text(page, encoding="utf-8")


def build(profile: str = "quick", data: str | None = None, fresh: bool = False, changes=()) -> Path:
    """Build the book, print it, and return the path of the PDF.

    Raises BuildError or FacesError with one clear last line.
    """
    chromium()  # its lack is said before the chapters run
    book.build(profile, data, fresh, None, changes)
    images = faces.find(data)
    run = runs.load(runs.run_folder("cnn", images, recipes.own("cnn", profile)))
    facts = {"data": f"{images.name}, n = {len(images):,}", "profile": profile}
    facts |= {"trained on": run.device, "printed on": date.today().isoformat()}
    target, about = build_dir() / "report.pdf", read_settings("_config.yml", "title", "author")
    with locked(build_dir() / "book.lock"):
        pages = [build_dir() / "html" / "book" / f"{name}.html" for name in ORDER]
        count = print_book(pages, target, *about, facts)
        offer(target, build_dir() / "html")
    print(f"{target}: {count} pages, {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return target
