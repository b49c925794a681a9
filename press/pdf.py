"""The report as one PDF: jupyter-book's single page, on A4 with a table of contents, printed by
headless Chromium: once to find the pages of the headings, and again with their numbers.
"""

import base64
import html
import io
import json
import logging
import re
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pypdf
import yaml
from bs4 import BeautifulSoup
from PIL import Image
from playwright.sync_api import Error as DriverError
from playwright.sync_api import sync_playwright
from pypdf.generic import ArrayObject, ByteStringObject, Fit, NameObject, NumberObject

from hw3 import faces, recipes, runs
from hw3.disk import build_dir, digest, locked, write_atomically
from press import build as book
from press.chapters import ORDER, BuildError

MOST_BYTES = 5_000_000
COLORS = (256, 64, 32)  # of a picture; the fewer ones where the PDF would be too large with more
DPI = 150  # of pictures in the PDF; the pages have them finer
WIDTH = 170 / 25.4  # inches: A4 without the margins of print.css
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# fonts of MathJax from files; WebGL, for plots in space, without a graphics card
FLAGS = ["--no-sandbox", "--allow-file-access-from-files", "--enable-unsafe-swiftshader"]
# what a reader of paper cannot use
USELESS = ".headerlink, .no-print, noscript, .tag_hide-input > details, .tag_hide-cell"
logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of things that it mends itself
SCRIPT = Path(__file__).with_name("print.js").read_text(encoding="utf-8")
STYLE = Path(__file__).with_name("print.css").read_text(encoding="utf-8")


def chromium() -> str:
    """Return the path of Chromium or Chrome. Raises BuildError where there is none."""
    for name in (*NAMES, MAC):
        if path := shutil.which(name):
            return path
    need = "the PDF is printed by Chromium or Chrome, and neither is found"
    raise BuildError(f"{need}: install one, then run this again")


class Heading(NamedTuple):
    """A line of the table of contents and of the outline: level 1 or 2, id on the page, title."""

    level: int
    id: str
    title: str


def lay_out(page: str, title: str, facts: dict[str, str]) -> tuple[str, list[Heading]]:
    """Return the HTML to print from jupyter-book's single page, and the headings of its contents.

    facts are the lines of the title page. The number of each heading's page is left open: an empty
    element of class "page" in its line of the contents.
    """
    soup = BeautifulSoup(page, "html.parser")
    language, title = soup.html.get("lang", "en"), html.escape(title)
    for useless in soup.select(f"article :is({USELESS})"):
        useless.extract()
    for closed in soup.select("article details"):
        closed["open"] = ""
    for link in soup.select("article a[href]"):
        if not re.match(r"#|https?:", link["href"]):  # a file beside the page
            link.unwrap()
    headings, contents, chapters, style = [], [], split(soup), STYLE
    for number, chapter in enumerate(chapters, 1):
        own_ids(chapter, f"c{number}-")
        chapter["style"] = f"page: c{number}"
        running = json.dumps(plain(chapter.find("h1")), ensure_ascii=False)
        running = running.replace("<", r"\3c ")  # a string of CSS
        style += f"@page c{number} {{ @top-right {{ content: {running} }} }}\n"
        for heading in chapter.find_all(["h1", "h2"]):
            heading["id"] = f"heading-{len(headings)}"
            headings.append(Heading(int(heading.name[1]), heading["id"], plain(heading)))
            text = f"<span>{heading.decode_contents()}</span><i></i><b class=page></b>"
            contents.append(f'<a class="{heading.name}" href="#{heading["id"]}">{text}</a>')
    scripts = "".join(str(s) for s in soup.head.find_all("script") if "mathjax" in str(s).lower())
    # letters as curves: brackets of matrices without seams
    mathjax = scripts.replace("tex-chtml", "tex-svg")
    lines = "".join(f"<dt>{k}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    contents, main = "".join(contents), "".join(map(str, chapters))
    laid_out = f"""<!doctype html><html lang="{language}"><head><meta charset="utf-8">
<title>{title}</title><link rel="stylesheet" href="_static/pygments.css">
<style>{style}</style><script>{SCRIPT}</script>{mathjax}</head>
<body><div class="title"><p>{title}</p><dl>{lines}</dl></div>
<nav><p>Contents</p>{contents}</nav>
<main>{main}</main></body></html>"""
    return laid_out, headings


def plain(heading) -> str:
    """Return the text of a heading on one line, without the signs around formulas."""
    return " ".join(re.sub(r"\\[()]", "", heading.get_text()).split())


def split(soup) -> list:
    """Take the chapters out of jupyter-book's single page: class "chapter", each with its h1."""
    chapters = []
    for anchor in soup.select("article span[id^=document-]"):
        chapters.append(soup.new_tag("div", attrs={"class": "chapter"}))
        chapters[-1].extend([anchor, anchor.find_next_sibling("section")])
        for heading in chapters[-1].find_all(["h2", "h3", "h4", "h5"]):
            heading.name = f"h{int(heading.name[1]) - 1}"  # they are below the front page
    front = soup.new_tag("div", attrs={"class": "chapter"})
    front.append(soup.select_one("article section"))
    return [front, *chapters]


def own_ids(chapter, prefix: str) -> None:
    """Put a prefix before the ids of a chapter's sections, as two chapters may share a name."""
    old = {section["id"] for section in chapter.select("section[id]")}
    for tag in chapter.select("section[id]"):
        tag["id"] = prefix + tag["id"]
    for link in chapter.select("a[href^='#']"):
        if link["href"][1:] in old:
            link["href"] = f"#{prefix}{link['href'][1:]}"


def unpack(page: str, place: Path) -> str:
    """Write the PNGs that a page holds into the folder _images; return a page that names them."""

    def write(match: re.Match) -> str:
        data = base64.b64decode(match[1])
        name = f"_images/{digest(data)}.png"
        (place / "_images").mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        return name

    return re.sub(r"data:image/png;base64,([\w+/]+=*)", write, page)


def shrink(folder: Path) -> None:
    """Make the PNGs of a folder no finer than DPI on the page's width, and paint them on white."""
    for path in folder.glob("*.png"):
        with Image.open(path) as opened:
            image = opened.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image.thumbnail((round(WIDTH * DPI), image.height), Image.LANCZOS)
        image.save(path)


def chromium_pdf(page: Path, most_seconds: int = 300) -> bytes:
    """Print an HTML file once its SCRIPT says that all is drawn; BuildError where that fails."""
    start = {"executable_path": chromium(), "args": FLAGS}
    try:
        with sync_playwright() as driver, driver.chromium.launch(**start) as browser:
            tab = browser.new_page()
            tab.goto(page.as_uri())
            whole = "document.documentElement.dataset.whole"
            tab.wait_for_function(whole, timeout=1000 * most_seconds)
            if tab.evaluate(whole) != "true":
                raise BuildError(f"a figure of {page.name} is missing; run this again")
            return tab.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
    except DriverError as error:
        why = error.message.strip().splitlines()[0]
        raise BuildError(f"Chromium could not print {page.name}: {why}") from None


def places(pdf: bytes, headings: list[Heading]) -> list[tuple[int, float]]:
    """Return where the headings stand: the page, counted from 1, and the height on it in points."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    marks = [reader.named_destinations[f"/{heading.id}"] for heading in headings]
    return [(reader.get_destination_page_number(mark) + 1, float(mark.top)) for mark in marks]


def numbered(page: str, numbers: list[int]) -> str:
    """Return the HTML to print with the numbers of the headings' pages in its table of contents."""
    left = iter(numbers)
    return re.sub("<b class=page></b>", lambda _: f"<b class=page>{next(left)}</b>", page)


def few_colors(page, colors: int) -> None:
    """Give pictures of a PDF's page a palette: one byte a pixel, where Chromium stores three."""
    for kept in page["/Resources"].get("/XObject", {}).values():
        picture = kept.get_object()
        size = picture.get("/Width", 0), picture.get("/Height", 0)
        if picture.get("/Filter") != "/FlateDecode":
            continue  # a form or a JPEG
        if len(picture.get_data()) != 3 * size[0] * size[1]:
            continue  # a gray picture, or one that is done
        image = Image.frombytes("RGB", size, picture.get_data())
        image = image.quantize(colors, dither=Image.Dither.NONE)
        palette = ByteStringObject(image.getpalette())
        last = NumberObject(len(palette) // 3 - 1)
        space = [NameObject("/Indexed"), NameObject("/DeviceRGB"), last, palette]
        picture[NameObject("/ColorSpace")] = ArrayObject(space)
        picture.set_data(image.tobytes())


def finish(pdf: bytes, headings: list[Heading], title: str, author: str, colors: int) -> bytes:
    """Return the PDF with an outline, title and author, and pictures of so many colors."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf))
    for page in writer.pages:
        few_colors(page, colors)
    parents = {0: None}
    for heading, (number, top) in zip(headings, places(pdf, headings), strict=True):
        place = {"parent": parents[heading.level - 1], "fit": Fit.xyz(left=0, top=top)}
        item = writer.add_outline_item(heading.title, number - 1, **place, is_open=False)
        parents[heading.level] = item
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.page_mode = "/UseOutlines"
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def print_book(source: Path, target: Path, facts: dict[str, str]) -> int:
    """Print the executed chapters of a jupyter-book source folder; return the number of pages.

    target is written whole or not at all; facts are the lines of the title page. Raises BuildError
    where jupyter-book or Chromium fails, or the PDF is too large.
    """
    root = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))["root"]
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    title, author = config["title"], config["author"]
    with tempfile.TemporaryDirectory() as folder:
        place = book.jupyter_book(source, Path(folder), "singlehtml")
        page = (place / f"{root}.html").read_text(encoding="utf-8")
        page = unpack(page.replace("../_static/", "_static/"), place)
        page, headings = lay_out(page, title, facts)
        shrink(place / "_images")
        printed = place / "print.html"
        printed.write_text(numbered(page, [0] * len(headings)), encoding="utf-8")
        first = places(chromium_pdf(printed), headings)
        printed.write_text(numbered(page, [number for number, _ in first]), encoding="utf-8")
        pdf = chromium_pdf(printed)
    if places(pdf, headings) != first:
        raise BuildError("the numbers in the table of contents moved the pages that they name")
    for colors in COLORS:
        finished = finish(pdf, headings, title, author, colors)
        if len(finished) <= MOST_BYTES:
            write_atomically(target, lambda file, pdf=finished: file.write(pdf))
            return len(pypdf.PdfReader(io.BytesIO(pdf)).pages)
    size, most = f"{len(finished) / 1e6:.1f} MB", f"{MOST_BYTES / 1e6:.1f} MB"
    wrong = f"{target.name} would have {size}, more than {most}"
    raise BuildError(f"{wrong}: lower DPI in press/pdf.py")


def offer(pdf: Path, html: Path) -> None:
    """Put a PDF beside the front page, and a link to it into the head of each page."""
    shutil.copyfile(pdf, html / pdf.name)
    for path in html.rglob("*.html"):
        up = "../" * (len(path.relative_to(html).parts) - 1)
        link = f'<a class="btn btn-sm hw3-language" href="{up}{pdf.name}" hreflang="en">PDF</a>'
        page = path.read_text(encoding="utf-8").replace(f"<!-- {pdf.name} -->", link)
        path.write_text(page, encoding="utf-8")


def build(profile: str = "quick", data: str | None = None, fresh: bool = False) -> Path:
    """Build the book, print it, and return the path of the PDF.

    Raises BuildError or FacesError with one clear last line.
    """
    chromium()  # its lack is said before the chapters run
    book.build(profile, data, fresh)
    images = faces.find(data)
    run = runs.load(runs.run_folder("cnn", images, recipes.recipe("cnn", profile)))
    facts = {"data": f"{images.name}, n = {len(images):,}", "profile": profile}
    facts |= {"trained on": run.device, "printed on": date.today().isoformat()}
    target = build_dir() / "report.pdf"
    with locked(build_dir() / "book.lock"):
        chapters = [build_dir() / "executed" / f"{name}.ipynb" for name in ORDER]
        pages = print_book(book.write_source(chapters), target, facts)
        offer(target, build_dir() / "html")
    print(f"{target}: {pages} pages, {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return target
