"""The report as one PDF: jupyter-book's single page, laid out on A4 with a table of contents, printed by headless Chromium.

Chromium finds the pages: it is printed once without page numbers in the table of contents, and again with them.
"""

import copy
import html
import io
import os
import re
import shutil
import subprocess
import tempfile
from datetime import date
from pathlib import Path

from hw3 import book, faces
from hw3.book import BuildError
from hw3.runs import ROOT, build_dir, write_atomically

MOST_BYTES = 5_000_000
DPI = 150  # of figures in the PDF; the pages have them finer
WIDTH = 170 / 25.4  # inches: A4 without the margins of print.css
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
WORDS = {
    "en": {"contents": "Contents", "data": "data", "profile": "profile", "device": "trained on", "date": "printed on"},
    "zh": {"contents": "目录", "data": "数据", "profile": "配置", "device": "训练设备", "date": "打印日期"},
}
READY = "ready to print"
# Shrinks what is wider than the page, and says in the title when formulas, fonts and figures are there.
SCRIPT = """
addEventListener("load", async () => {
  await globalThis.MathJax?.startup.promise;
  await document.fonts.ready;
  for (const wide of document.querySelectorAll("table, mjx-container[display]")) {
    const room = wide.parentElement.clientWidth, need = Math.max(wide.scrollWidth, wide.offsetWidth);
    if (need > room + 1) wide.style.zoom = room / need;
  }
  if ([...document.images].every((image) => image.naturalWidth)) document.title += " READY";
});
""".replace("READY", READY)


def chromium() -> str:
    """Return the path of Chromium or Chrome. Raises BuildError where there is none."""
    found = next(filter(None, map(shutil.which, (*NAMES, MAC))), None)
    if not found:
        raise BuildError("the PDF is printed by Chromium or Chrome, and neither is found: install one, then run this again")
    return found


def lay_out(page: str, facts: dict[str, str]) -> tuple[str, list[str]]:
    """Turn jupyter-book's single page into the HTML to print; return it, and the ids of the headings of the table of contents.

    facts are the lines of the title page, named by the keys of WORDS. The number of a heading's page is left open in an
    element of class "page" in its line of the table of contents.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "html.parser")
    language = soup.html.get("lang", "en")
    words = WORDS.get(language.partition("-")[0].partition("_")[0], WORDS["en"])
    title, article = soup.title.get_text().strip(), soup.find("article")
    for useless in article.select(".headerlink, .tag_hide-input > details, script[src*=require], .no-print"):
        useless.decompose()
    for link in article.select("a[href]"):
        if not re.match(r"#|https?:", link["href"]):  # a figure's own file, which the PDF does not have
            link.unwrap()
    chapters = split(soup, article)
    entries, ids = [], []
    for number, chapter in enumerate(chapters, 1):
        own_ids(chapter, f"c{number}-")
        chapter["style"] = f"page: c{number}"
        for heading in chapter.find_all(["h1", "h2"]):
            ids.append(f"heading-{len(ids)}")
            heading["id"] = ids[-1]
            text = "".join(map(str, copy.copy(heading).contents))
            entries.append(f'<a class="{heading.name}" href="#{ids[-1]}"><span>{text}</span><i></i><b class="page"></b></a>')
    heads = [chapter.find("h1") for chapter in chapters]
    running = "\n".join(
        f'@page c{number} {{ @top-right {{ content: "{css_string(head.get_text(" ", strip=True))}" }} }}'
        for number, head in enumerate(heads, 1)
        if head
    )
    scripts = [s for s in soup.head.find_all("script") if "mathjax" in (s.get("src") or "") or "window.MathJax" in s.text]
    lines = "".join(f"<dt>{html.escape(words[k])}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    style = Path(__file__).with_name("print.css").read_text(encoding="utf-8")
    return (
        f"""<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<link rel="stylesheet" href="_static/pygments.css"><style>{style}\n{running}</style><script>{SCRIPT}</script>
{"".join(map(str, scripts))}</head><body><div class="title"><p>{html.escape(title)}</p><dl>{lines}</dl></div>
<nav><p>{words["contents"]}</p>{"".join(entries)}</nav><main>{"".join(map(str, chapters))}</main></body></html>""",
        ids,
    )


def split(soup, article) -> list:
    """Return the chapters of jupyter-book's article as elements of class "chapter", each with its title as h1."""
    chapters = []
    for anchor in article.select("span[id^=document-]"):
        body = anchor.find_next_sibling("section")
        chapter = soup.new_tag("div", attrs={"class": "chapter"})
        for part in (anchor.extract(), body.extract()):
            chapter.append(part)
        for heading in chapter.find_all(["h2", "h3", "h4", "h5"]):  # below the front page they are one level down
            heading.name = f"h{int(heading.name[1]) - 1}"
        chapters.append(chapter)
    front = soup.new_tag("div", attrs={"class": "chapter"})
    front.append(article.find("section").extract())
    return [front, *chapters]


def own_ids(chapter, prefix: str) -> None:
    """Give a chapter's ids a prefix, so that two chapters may have a section of one name; jupyter-book's anchors stay."""
    shared = re.compile("document-|equation-|T_")
    old = {tag["id"] for tag in chapter.select("[id]") if not shared.match(tag["id"])} - {
        tag["id"] for tag in chapter.select(".hw3-interactive [id], .plotly-graph-div")
    }
    for tag in chapter.select("[id]"):
        if tag["id"] in old:
            tag["id"] = prefix + tag["id"]
    for link in chapter.select("a[href^='#']"):
        if link["href"][1:] in old:
            link["href"] = f"#{prefix}{link['href'][1:]}"


def css_string(text: str) -> str:
    """Return text as the inside of a CSS string in double quotes."""
    return re.sub(r'["\\<\n]', lambda m: f"\\{ord(m[0]):x} ", text)


def shrink(folder: Path) -> None:
    """Make the pictures of a folder no finer than the PDF needs, and PNGs of few colors small."""
    from PIL import Image

    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image = image.convert("RGB")
        if image.width > WIDTH * DPI:
            image = image.resize((round(WIDTH * DPI), round(image.height * WIDTH * DPI / image.width)), Image.LANCZOS)
        image.save(path, optimize=True)


def chromium_pdf(page: Path, most_seconds: int = 300) -> bytes:
    """Print an HTML file; return the PDF. Raises BuildError where Chromium fails or the page is not READY."""
    import pypdf

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.pdf"
        command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--allow-file-access-from-files"]
        command += ["--enable-unsafe-swiftshader", f"--user-data-dir={folder}/user", "--virtual-time-budget=60000"]
        command += ["--generate-pdf-document-outline", "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=most_seconds)
        except subprocess.TimeoutExpired:
            raise BuildError(f"Chromium did not print {page.name} within {most_seconds} s") from None
        if result.returncode or not target.exists():
            raise BuildError(f"{result.stderr[-1000:]}\nhw3: {command[0]} could not print {page.name} (above)")
        pdf = target.read_bytes()
    title = (pypdf.PdfReader(io.BytesIO(pdf)).metadata or {}).get("/Title", "")
    if not title.endswith(READY):
        raise BuildError(f"Chromium printed {page.name} before its formulas and figures were there; run this again")
    return pdf


def pages_of(pdf: bytes, ids: list[str]) -> list[int]:
    """Return the page, counted from 1, on which each id stands."""
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(pdf))
    return [reader.get_destination_page_number(reader.named_destinations[f"/{i}"]) + 1 for i in ids]


def numbered(page: str, pages: list[int]) -> str:
    """Return the HTML to print with the numbers of the pages in the table of contents."""
    numbers = iter(pages)
    return re.sub(r'<b class="page">\d*</b>', lambda _: f'<b class="page">{next(numbers)}</b>', page)


def finished(pdf: bytes, title: str, author: str) -> bytes:
    """Return the PDF with its metadata, and opened with its outline."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf))
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.page_mode = "/UseOutlines"
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def print_book(source: Path, target: Path, facts: dict[str, str]) -> int:
    """Print the executed chapters of a jupyter-book source folder into target, whole or not at all; return the number of pages.

    Raises BuildError where jupyter-book or Chromium fails, or the PDF gets larger than MOST_BYTES.
    """
    import yaml

    chromium()
    with tempfile.TemporaryDirectory() as folder:
        place = book.jupyter_book(source, Path(folder), "singlehtml")
        root = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))["root"]
        config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
        page, ids = lay_out((place / f"{root}.html").read_text(encoding="utf-8").replace("../_static/", "_static/"), facts)
        shrink(place / "_images")
        path, pages = place / "print.html", [0] * len(ids)
        for _ in range(3):
            path.write_text(numbered(page, pages), encoding="utf-8")
            pdf = chromium_pdf(path)
            before, pages = pages, pages_of(pdf, ids)
            if before == pages:
                break
        else:
            raise BuildError("the table of contents moves the pages that it names")
    pdf = finished(pdf, config["title"], config["author"])
    if len(pdf) > MOST_BYTES:
        raise BuildError(f"{target.name} would have {len(pdf) / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB are wanted")
    write_atomically(target, lambda file: file.write(pdf))
    return len(__import__("pypdf").PdfReader(io.BytesIO(pdf)).pages)
