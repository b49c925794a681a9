"""A Sphinx extension for the book's pages: alternative texts, a head that says which runs a page
shows, and small files.

No page asks another host: plotly's script and the formulas' fonts are shipped, once, and what no
page uses is not.
"""

import base64
import json
import re
from fnmatch import fnmatch
from pathlib import Path

from docutils import nodes

from hw3.disk import ROOT, build_dir

# One line under each title.
HEAD = {
    "recorded": "Recorded: {data}, profile {profile}, {device}, {date}.",
    "own": "This build: {data}, profile {profile}, {device}, {date}.",
    "edit": "Open in JupyterLab: {command}, then {file}.",
}
# Files below _static that packages bring and no page asks for. Of MathJax a formula needs one
# script and its fonts.
UNUSED = ("*.map", "*.ttf", "*/fa-brands-*", "locales/*", "mathjax/*", "scripts/fontawesome.js")
USED = ("mathjax/tex-chtml.js", "mathjax/output/chtml/fonts/woff-v2/*")
FIGURE = '<div class="hw3-plot">'  # where a plotly figure begins
# What the demo's page may load: files beside it, and what its scripts make themselves. That is all
# they can connect to, too. "unsafe-eval" lets them compile WebAssembly, and a browser test ask the
# page.
ALONE = "default-src 'self' file: data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src data: blob:; form-action 'self' file:"
# The theme asks what can be scrolled, and must be reached by keyboard, when the window's size
# changes. The page's may go on changing after that, as the sidebar slides. And paper is light.
AGAIN = """addEventListener("DOMContentLoaded", () => {
  const main = document.querySelector("main");
  let width = main.offsetWidth;
  new ResizeObserver(() => width !== (width = main.offsetWidth) && dispatchEvent(new Event("resize"))).observe(main);
});
const root = document.documentElement;
let theme;
addEventListener("beforeprint", () => { [theme, root.dataset.theme] = [root.dataset.theme, "light"]; });
addEventListener("afterprint", () => { root.dataset.theme = theme; });"""


def keep_alternative_texts() -> None:
    """Let images of outputs keep the "alt" of their metadata, which figures.png writes; MyST-NB
    would drop it.
    """
    from myst_nb.core.render import NbElementRenderer

    render = NbElementRenderer.render_image

    def render_image(self, data):
        found = render(self, data)
        for image in found:
            if alt := data.output_metadata.get(data.mime_type, {}).get("alt"):
                image["alt"] = alt
        return found

    NbElementRenderer.render_image = render_image


def head(told: dict, file: str, notebook: bytes = b"") -> nodes.paragraph:
    """Return the line that says which runs a page shows, and how to open its chapter; told as in
    `runs.shown`.

    The name of the file is a link that saves the notebook. It stands whole in the page: a browser
    that opens a page from disk would show a file beside it as text.
    """
    line = nodes.paragraph(classes=["hw3-head"])
    for kind in ("recorded", "own"):
        words = {name: " / ".join(values) for name, values in told[kind].items() if values}
        if len(words) == 4:
            words["date"] = " / ".join(
                dict.fromkeys((told[kind]["date"][0], told[kind]["date"][-1]))
            )  # first and last
            line += [nodes.inline("", HEAD[kind].format(**words)), nodes.Text(" ")]
    line += nodes.inline()
    for text in re.split("({command}|{file})", HEAD["edit"]):
        code = {"{command}": "make lab", "{file}": file}.get(text)
        shown = nodes.literal("", code) if code else nodes.Text(text)
        if code == file and notebook:
            data = f"data:application/x-ipynb+json;base64,{base64.b64encode(notebook).decode()}"
            link = (
                nodes.raw("", tag, format="html")
                for tag in (f'<a download="{file}" href="{data}">', "</a>")
            )
            shown = nodes.inline("", "", next(link), shown, next(link))
        line[-1] += shown
    return line


def add_head(app, doctree) -> None:
    """Put the head under the title of a page that was made from an executed chapter."""
    told = json.loads(app.env.metadata[app.env.docname].get("hw3", "{}"))
    if "own" in told:
        title = next(doctree.findall(nodes.title))
        file = (
            ROOT / f"{app.env.docname}.ipynb"
        )  # as written: the one that was executed may name this machine's faces
        line = head(told, file.name, file.read_bytes())
        title.parent.insert(title.parent.index(title) + 1, line)


def configure(app, config) -> None:
    """Put the switch of language first among the buttons of a page's head, and into _static what
    pages load: the style, plotly's script from its package, the demo's networks."""
    import plotly

    plotly_script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    files = Path(__file__).with_name("page.css"), plotly_script, build_dir() / "demo"
    config.html_static_path += [str(path) for path in files if path.exists()]
    config.templates_path.append(str(Path(__file__).parent))
    config.html_theme_options["article_header_end"] = [
        "language.html",
        "article-header-buttons.html",
    ]


def fit_page(app, pagename, templatename, context, doctree) -> None:
    """Tell the templates of a page what it needs beyond the theme, and what it can do without."""
    # where the same page of the other edition lies, for the switch: it is in the folder hw3_other
    if app.config.hw3_other:
        context["hw3_other"] = context["pathto"](f"{app.config.hw3_other}{pagename}.html", 1)
    # Without the scripts of Thebe, which jupyter-book adds to all pages, twice: it would run cells
    # on another host.
    scripts = context.get("script_files", [])
    context["script_files"] = [
        s for s in scripts if "thebe" not in f"{s.filename}{s.attributes.get('body')}".lower()
    ]
    if FIGURE in (
        body := context.get("body", "")
    ):  # plotly's script once: run again, it would cut figures off from clicks
        script = f'<script src="{context["pathto"]("_static/plotly.min.js", 1)}"></script>'
        context["body"] = body.replace(FIGURE, script + FIGURE, 1)
    if (
        Path(pagename).name == "try"
    ):  # which looks at the reader's picture: the browser keeps it from opening any connection
        context["metatags"] = (
            f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">'
            + context.get("metatags", "")
        )


def draw_icons_with_their_font(app, error) -> None:
    """Leave out of the finished pages the script that would draw the theme's icons anew: 1.5 MB for
    what their font does.
    """
    if error is None and app.builder.name == "html":
        for path in Path(app.outdir).rglob("*.html"):
            kept = re.sub(
                r'<script defer src="[^"]*/fontawesome\.js[^"]*"></script>',
                "",
                path.read_text(encoding="utf-8"),
            )
            path.write_text(kept, encoding="utf-8")


def remove_unused(app, error) -> None:
    """Remove the files of _static that no page asks for, most of the finished HTML's bytes; pdf.py
    prints with others.
    """
    if error is None and app.builder.name == "html":
        static = Path(app.outdir) / "_static"
        for path in sorted(static.rglob("*"), reverse=True):  # what is in a folder comes before it
            name = path.relative_to(static).as_posix()
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif any(fnmatch(name, p) for p in UNUSED) and not any(fnmatch(name, p) for p in USED):
                path.unlink()


def remove_old_figures(app, error) -> None:
    """Remove the figures of earlier builds, which MyST-NB names by their digest and Sphinx leaves
    behind.
    """
    if error is None and app.builder.format == "html":
        shown = {name for _, name in app.env.images.values()}
        for path in (Path(app.outdir) / app.builder.imagedir).glob("*.png"):
            if len(path.stem) == 64 and path.name not in shown:
                path.unlink()


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    keep_alternative_texts()
    app.add_config_value("hw3_other", "", "html")
    app.connect("config-inited", configure)
    app.add_css_file("page.css")
    app.add_js_file(None, body=AGAIN)
    app.connect("doctree-read", add_head)
    app.connect("html-page-context", fit_page)
    app.connect("build-finished", draw_icons_with_their_font)
    app.connect("build-finished", remove_old_figures)
    app.connect(
        "build-finished", remove_unused, priority=900
    )  # when the extensions have copied their files
    return {"parallel_read_safe": True, "parallel_write_safe": True}
