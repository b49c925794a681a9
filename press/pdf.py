"""The report as one PDF: jupyter-book's single page, laid out on A4 with a table of contents,
printed by headless Chromium.

Chromium finds the pages: it is printed once without page numbers in the table of contents, and
again with them.
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
COLORS = (256, 64, 32)  # of a figure; the fewer ones where the PDF would be too large with more
DPI = 150  # of figures in the PDF; the pages have them finer
WIDTH = 170 / 25.4  # inches: A4 without the margins of print.css
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FLAGS = ["--no-sandbox", "--allow-file-access-from-files"]  # MathJax's fonts
FACTS = {
    "data": "data",
    "profile": "profile",
    "device": "trained on",
    "date": "printed on",
}  # on the title page
# Not printed: what a reader of paper cannot use. A plot that answers to pointing has a picture for
# paper as its first child.
USELESS = ".headerlink, .no-print, .tag_hide-input > details, .tag_hide-cell, "
USELESS += ".hw3-interactive:has(> img) > :not(img), .hw3-interactive:has(> img) ~ script"
logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of things that it mends itself
# Shrinks what is wider than the page, gives formulas their TeX as text, and then says whether every
# image is there.
SCRIPT = """
addEventListener("load", async () => {
  await globalThis.MathJax?.startup.promise;
  for (const { math, typesetRoot } of globalThis.MathJax?.startup.document.math ?? []) {
    const drawn = typesetRoot.querySelector("svg");
    drawn.removeAttribute("aria-hidden");
    drawn.setAttribute("aria-label", math);
  }
  await document.fonts.ready;
  for (const wide of document.querySelectorAll("table, mjx-container[display]")) {
    const room = wide.parentElement.clientWidth, need = Math.max(wide.scrollWidth, wide.offsetWidth);
    if (need > room + 1) wide.style.zoom = room / need;
  }
  document.documentElement.dataset.whole = [...document.images].every((image) => image.naturalWidth);
});
"""


def chromium() -> str:
    """Return the path of Chromium or Chrome. Raises BuildError where there is none."""
    found = next(filter(None, map(shutil.which, (*NAMES, MAC))), None)
    if not found:
        raise BuildError(
            "the PDF is printed by Chromium or Chrome, and neither is found: install one, then run this again"
        )
    return found


class Heading(NamedTuple):
    """A line of the table of contents and of the outline: level 1 or 2, id on the page, title."""

    level: int
    id: str
    title: str


def lay_out(page: str, title: str, facts: dict[str, str]) -> tuple[str, list[Heading]]:
    """Turn jupyter-book's single page into the HTML to print; return it, and the headings of its
    table of contents.

    facts are the lines of the title page, named by keys of FACTS. The number of each heading's page
    is left open, in an element of class "page" in its line of the table of contents.
    """
    soup = BeautifulSoup(page, "html.parser")
    language, title = soup.html.get("lang", "en"), html.escape(title)
    for useless in soup.select(f"article :is({USELESS})"):
        if not useless.decomposed:
            useless.decompose()
    for closed in soup.select("article details"):
        closed["open"] = ""
    for link in soup.select("article a[href]"):
        if not re.match(
            r"#|https?:", link["href"]
        ):  # a figure's own file, which the PDF does not have
            link.unwrap()
    headings, contents, running, chapters = [], [], [], split(soup)
    for number, chapter in enumerate(chapters, 1):
        own_ids(chapter, f"c{number}-")
        chapter["style"] = f"page: c{number}"
        running_title = json.dumps(plain(chapter.find("h1")), ensure_ascii=False).replace(
            "<", r"\3c "
        )  # a CSS string
        running.append(f"@page c{number} {{ @top-right {{ content: {running_title} }} }}")
        for heading in chapter.find_all(["h1", "h2"]):
            heading["id"] = f"heading-{len(headings)}"
            headings.append(Heading(int(heading.name[1]), heading["id"], plain(heading)))
            text = f"<span>{heading.decode_contents()}</span><i></i><b class=page></b>"
            contents.append(f'<a class="{heading.name}" href="#{heading["id"]}">{text}</a>')
    scripts = [
        str(s)
        for s in soup.head.find_all("script")
        if "mathjax" in s.get("src", "") or "window.MathJax" in s.text
    ]
    mathjax = "".join(scripts).replace(
        "tex-chtml", "tex-svg"
    )  # letters on paper as curves: brackets of matrices without seams
    lines = "".join(f"<dt>{FACTS[k]}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    style = "\n".join([Path(__file__).with_name("print.css").read_text(encoding="utf-8"), *running])
    laid_out = f"""<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="_static/pygments.css"><style>{style}</style><script>{SCRIPT}</script>{mathjax}
</head><body><div class="title"><p>{title}</p><dl>{lines}</dl></div><nav><p>Contents</p>{"".join(contents)}</nav>
<main>{"".join(map(str, chapters))}</main></body></html>"""
    return laid_out, headings


def plain(heading) -> str:
    """Return the text of a heading on one line, without the signs around formulas."""
    return " ".join(re.sub(r"\\[()]", "", heading.get_text()).split())


def split(soup) -> list:
    """Take the chapters out of jupyter-book's single page: elements of class "chapter", each with
    its title as h1.
    """
    chapters = []
    for anchor in soup.select("article span[id^=document-]"):
        chapters.append(soup.new_tag("div", attrs={"class": "chapter"}))
        chapters[-1].extend([anchor, anchor.find_next_sibling("section")])
        for heading in chapters[-1].find_all(
            ["h2", "h3", "h4", "h5"]
        ):  # below the front page they are one level down
            heading.name = f"h{int(heading.name[1]) - 1}"
    front = soup.new_tag("div", attrs={"class": "chapter"})
    front.append(soup.select_one("article section"))
    return [front, *chapters]


def own_ids(chapter, prefix: str) -> None:
    """Give the sections of a chapter ids with a prefix, as two chapters may have sections of one
    name; mend the links to them.
    """
    old = {section["id"] for section in chapter.select("section[id]")}
    for tag in chapter.select("section[id]"):
        tag["id"] = prefix + tag["id"]
    for link in chapter.select("a[href^='#']"):
        if link["href"][1:] in old:
            link["href"] = f"#{prefix}{link['href'][1:]}"


def unpack(page: str, place: Path) -> str:
    """Write the PNGs that stand inside a page into the folder _images of `place`; return the page
    that names these files.
    """

    def write(match: re.Match) -> str:
        data = base64.b64decode(match[1])
        name = f"_images/{digest(data)}.png"
        (place / "_images").mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        return name

    return re.sub(r"data:image/png;base64,([\w+/]+=*)", write, page)


def shrink(folder: Path) -> None:
    """Make the PNGs of a folder no finer than DPI on the whole width of the page, and paint them on
    white.
    """
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image = Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            ).convert("RGB")
        image.thumbnail((round(WIDTH * DPI), image.height), Image.LANCZOS)
        image.save(path)


def chromium_pdf(page: Path, most_seconds: int = 300) -> bytes:
    """Print an HTML file once its SCRIPT says that all is drawn; return the PDF. Raises BuildError
    where that fails.
    """
    try:
        with (
            sync_playwright() as driver,
            driver.chromium.launch(executable_path=chromium(), args=FLAGS) as browser,
        ):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            whole = "document.documentElement.dataset.whole"
            tab.wait_for_function(whole, timeout=1000 * most_seconds)
            if tab.evaluate(whole) != "true":
                raise BuildError(f"a figure of {page.name} is missing; run this again")
            return tab.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
    except DriverError as error:
        raise BuildError(
            f"Chromium could not print {page.name}: {error.message.strip().splitlines()[0]}"
        ) from None


def places(pdf: bytes, headings: list[Heading]) -> list[tuple[int, float]]:
    """Return where the headings stand: the page, counted from 1, and the height on it in points."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    found = [reader.named_destinations[f"/{heading.id}"] for heading in headings]
    return [(reader.get_destination_page_number(place) + 1, float(place.top)) for place in found]


def numbered(page: str, numbers: list[int]) -> str:
    """Return the HTML to print with the numbers of the headings' pages in its table of contents."""
    left = iter(numbers)
    return re.sub("<b class=page></b>", lambda _: f"<b class=page>{next(left)}</b>", page)


def few_colors(page, colors: int) -> None:
    """Keep the pictures of a PDF's page with a palette of so many colors: one byte a pixel, where
    Chromium stores three.
    """
    for kept in page["/Resources"].get("/XObject", {}).values():
        picture = kept.get_object()
        size = picture.get("/Width", 0), picture.get("/Height", 0)
        if (
            picture.get("/Filter") != "/FlateDecode"
            or len(picture.get_data()) != 3 * size[0] * size[1]
        ):
            continue  # a form, a JPEG, a gray picture, or one that is done
        image = Image.frombytes("RGB", size, picture.get_data()).quantize(
            colors, dither=Image.Dither.NONE
        )
        palette = bytes(image.getpalette())
        space = [
            NameObject("/Indexed"),
            NameObject("/DeviceRGB"),
            NumberObject(len(palette) // 3 - 1),
            ByteStringObject(palette),
        ]
        picture[NameObject("/ColorSpace")] = ArrayObject(space)
        picture.set_data(image.tobytes())


def finish(pdf: bytes, headings: list[Heading], title: str, author: str, colors: int) -> bytes:
    """Return the PDF with an outline of the headings, title and author, and pictures of so many
    colors.
    """
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf))
    for page in writer.pages:
        few_colors(page, colors)
    parents = {0: None}
    for heading, (number, top) in zip(headings, places(pdf, headings), strict=True):
        place = {"parent": parents[heading.level - 1], "fit": Fit.xyz(left=0, top=top)}
        parents[heading.level] = writer.add_outline_item(
            heading.title, number - 1, **place, is_open=False
        )
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.page_mode = "/UseOutlines"
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def print_book(source: Path, target: Path, facts: dict[str, str]) -> int:
    """Print the executed chapters of a jupyter-book source folder into target, whole or not at all;
    return the number of pages.

    facts are the lines of the title page. Raises BuildError where jupyter-book or Chromium fails,
    or the PDF is too large.
    """
    root = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))["root"]
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        place = book.jupyter_book(source, Path(folder), "singlehtml")
        page = (
            (place / f"{root}.html").read_text(encoding="utf-8").replace("../_static/", "_static/")
        )
        page, headings = lay_out(unpack(page, place), config["title"], facts)
        shrink(place / "_images")
        printed = place / "print.html"
        printed.write_text(numbered(page, [0] * len(headings)), encoding="utf-8")
        found = places(chromium_pdf(printed), headings)
        printed.write_text(numbered(page, [number for number, _ in found]), encoding="utf-8")
        pdf = chromium_pdf(printed)
    if places(pdf, headings) != found:
        raise BuildError("the numbers in the table of contents moved the pages that they name")
    for colors in COLORS:
        finished = finish(pdf, headings, config["title"], config["author"], colors)
        if len(finished) <= MOST_BYTES:
            break
    else:
        size, most = f"{len(finished) / 1e6:.1f} MB", f"{MOST_BYTES / 1e6:.1f} MB"
        raise BuildError(
            f"{target.name} would have {size}, more than {most}: lower DPI in press/pdf.py"
        )
    write_atomically(target, lambda file: file.write(finished))
    return len(pypdf.PdfReader(io.BytesIO(pdf)).pages)


def build(profile: str = "quick", data: str | None = None, fresh: bool = False) -> Path:
    """Build the book, print it, and return the path of the PDF. Raises BuildError or FacesError
    with one clear last line.
    """
    chromium()  # its lack is said before the chapters run
    book.build(profile, data, fresh)
    found = faces.find(data)
    run = runs.load(runs.run_folder("cnn", found, recipes.recipe("cnn", profile)))
    facts = {"data": f"{found.name}, n = {len(found):,}", "profile": profile, "device": run.device}
    facts["date"] = date.today().isoformat()
    target = build_dir() / "report.pdf"
    with locked(build_dir() / "book.lock"):
        source = book.write_source([build_dir() / "executed" / f"{name}.ipynb" for name in ORDER])
        pages = print_book(source, target, facts)
    print(f"{target}: {pages} pages, {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return target
