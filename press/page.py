"""A Sphinx extension for the pages: alternative texts, a head about the runs shown, small files.

No page asks another host: plotly's script and the formulas' fonts are shipped, once.
"""

import base64
import html
import re
from fnmatch import fnmatch
from pathlib import Path

from docutils import nodes

from hw3.disk import ROOT, build_dir
from press import chapters, values

# Files below _static that packages bring and no page asks for. Of MathJax a formula needs one
# script and its fonts.
UNUSED = ("*.map", "*.ttf", "*/fa-brands-*", "locales/*", "mathjax/*")
USED = ("mathjax/tex-chtml.js", "mathjax/output/chtml/fonts/woff-v2/*")
FIGURE = '<div class="hw3-plot">'  # where a plotly figure begins
# A source's number, as sources are cited by name, and the role of a list, which lacks its items.
NUMBER = re.compile(r'(?s)<span class="label">.*?(?=<p>)| role="list"(?= class="citation-list")')
# What the demo's page may load and connect to: files beside it, and what its scripts make
# themselves. "unsafe-eval" lets them compile WebAssembly, and a browser test ask the page.
ALONE = "default-src 'self' file: data: blob: 'unsafe-inline' 'unsafe-eval'; "
ALONE += "connect-src data: blob:; form-action 'self' file:"


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    keep_alternative_texts()
    app.setup_extension("press.values")
    app.add_config_value("hw3_other", "", "html")  # the folder of the other edition
    if app.config.language != "en":
        app.setup_extension("press.translate")
    app.connect("config-inited", configure)
    app.add_css_file("page.css")
    app.add_js_file("page.js")
    app.connect("doctree-read", add_head)
    app.connect("doctree-read", number_equations)
    app.connect("html-page-context", fit_page)
    app.connect("build-finished", remove_unused, priority=900)  # when extensions copied their files
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def keep_alternative_texts() -> None:
    """Let images of outputs keep "alt" and "classes" of their metadata, which MyST-NB drops."""
    from myst_nb.core.render import NbElementRenderer

    render = NbElementRenderer.render_image

    def render_image(self, data):
        made = render(self, data)
        about = data.output_metadata.get(data.mime_type, {})
        for image in made:
            image.attributes |= {name: about[name] for name in ("alt", "classes") if name in about}
        return made

    NbElementRenderer.render_image = render_image


def number_equations(app, doctree) -> None:
    """Number the labeled equations of the homework by chapter: (4.1) is the first of chapter 4."""
    labels = app.env.get_domain("math").equations
    name = Path(app.env.docname).name
    for equation in doctree.findall(nodes.math_block):
        if name in chapters.HOMEWORK and equation.get("label"):
            equation["number"] = f"{chapters.HOMEWORK.index(name) + 1}.{equation['number']}"
            labels[equation["label"]] = app.env.docname, equation["number"]


def add_head(app, doctree) -> None:
    """Put the head under the title of a page that was made from an executed chapter."""
    about = values.about(app.env)
    if about:
        title = next(doctree.findall(nodes.title))
        # as written: the one that was executed may name this machine's faces
        file = ROOT / f"{app.env.docname}.ipynb"
        space = "" if app.config.language.startswith("zh") else " "  # 。 has one of its own
        line = head(about, file.name, file.read_bytes(), space)
        line = nodes.raw("", line, format="html")
        title.parent.insert(title.parent.index(title) + 1, line)


def head(about: dict, file: str, notebook: bytes = b"", space: str = " ") -> str:
    """Return the HTML of the line that says which runs a page shows, and how to open its chapter.

    about is as of show.head. The name of the file saves the notebook, which stands whole in the
    page: a browser that opens a page from disk would show a file beside it as text.
    """
    texts = []
    for kind, name in (("recorded", "Recorded"), ("own", "This build")):
        runs = about.get(kind, {})
        words = {key: " / ".join(values) for key, values in runs.items()}
        if words and all(words.values()):
            words["date"] = " / ".join(dict.fromkeys((runs["date"][0], runs["date"][-1])))
            text = "{data}, profile {profile}, {device}, {date}.".format(**words)
            texts.append(f"{name}: {text}")
    if about.get("recorded", {}).get("data"):  # where there are none, no accuracy is shown
        texts.append("Brackets hold 95% intervals.")
    line = "".join(f"<span>{html.escape(text)}</span>{space}" for text in texts)
    data = f"data:application/x-ipynb+json;base64,{base64.b64encode(notebook).decode()}"
    line += 'Open in JupyterLab: run <code class="literal">make lab</code>, then choose '
    line += f'<a download="{file}" href="{data}"><code class="literal">{file}</code></a> there.'
    return f'<p class="hw3-head">{line}</p>'


def configure(app, config) -> None:
    """Say what pages load: style, plotly's script, the demo's networks, the switch of language."""
    import plotly

    here, package = Path(__file__).parent, Path(plotly.__file__).parent / "package_data"
    files = here / "page.css", here / "page.js", package / "plotly.min.js", build_dir() / "demo"
    config.html_static_path += [str(path) for path in files if path.exists()]
    config.templates_path.append(str(here))
    buttons = ["language.html", "article-header-buttons.html"]
    config.html_theme_options["article_header_end"] = buttons


def fit_page(app, pagename, templatename, context, doctree) -> None:
    """Tell the templates of a page what it needs beyond the theme, and what it can do without."""
    if app.config.hw3_other:
        context["hw3_other"] = context["pathto"](f"{app.config.hw3_other}{pagename}.html", 1)
    # plotly's script once: run again, it would cut figures off from clicks
    script = f'<script src="{context["pathto"]("_static/plotly.min.js", 1)}"></script>'
    body = NUMBER.sub("", context.get("body", ""))
    context["body"] = body.replace(FIGURE, script + FIGURE, 1)
    # This page looks at the reader's picture: the browser keeps it from opening any connection.
    if Path(pagename).name == "try":
        policy = f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">'
        context["metatags"] = policy + context.get("metatags", "")


def remove_unused(app, error) -> None:
    """Remove what no page needs: most bytes of _static, what draws the icons anew, old figures."""
    if error:
        return
    static, images = Path(app.outdir) / "_static", Path(app.outdir) / "_images"
    (static / "scripts" / "fontawesome.js").write_text("")
    for path in [path for path in static.rglob("*") if path.is_file()]:
        name = path.relative_to(static).as_posix()
        if any(fnmatch(name, p) for p in UNUSED) and not any(fnmatch(name, p) for p in USED):
            path.unlink()
    used = {name for _, name in app.env.images.values()}
    for path in images.glob("*.png"):  # of figures, named by their digest
        if len(path.stem) == 64 and path.name not in used:
            path.unlink()
