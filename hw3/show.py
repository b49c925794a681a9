"""What JupyterLab and pages get: figures' look and labels, tables, and plotly figures."""

import html
import inspect
import json
import re
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import matplotlib as mpl
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from IPython import get_ipython
from IPython.core.pylabtools import retina_figure
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from hw3 import machine

HERE = Path(__file__).parent
WIDTH = 7.4  # inches: as wide as the text of a page
NONE = "rgba(0,0,0,0)"  # the ground of plotly's figures is the page's
GRAY = "#757575"  # words, legible in both themes; plot.js gives plotly's the page's own color
COLORS = ["#0173b2", "#de8f05", "#029e73", "#aa3377", "#c91f16", "#56b4e9", "#333333", "#949494"]


def style() -> None:
    """Set the look of figures: COLORS, told apart by the color-blind; sharp on dense screens."""
    mpl.rcdefaults()  # Matplotlib brings this font; Arial, of seaborn's choice, only some have
    sns.set_theme("notebook", "whitegrid", COLORS, font="DejaVu Sans", font_scale=0.85)
    mpl.rcParams.update({"figure.dpi": 110, "savefig.dpi": 220, "axes.titleweight": "bold"})
    if get_ipython() is not None:
        import matplotlib_inline.backend_inline  # noqa: F401  sets its own way: ours comes after it

        get_ipython().display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> tuple[str, dict]:
    """Return a sharp PNG in base64, and metadata: no height, which would stretch it on a phone."""
    chart = not any(ax.images for ax in figure.axes)  # pictures, such as faces, have no ground
    image, size = retina_figure(figure, bbox_inches="tight", facecolor="white" if chart else "none")
    about = {"width": size["width"], "alt": figure.get_label(), "classes": ["hw3-chart"] * chart}
    return b64encode(image).decode(), about


def panels(height: float, rows: int = 1, columns: int = 1, **options) -> tuple:
    """Return a figure as wide as a page's text, height in inches, and its axes, one or an array."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def labeled(figure: Figure, label: str, note: str = "") -> Figure:
    """Return a figure with its label, which the note ends; it stands below in small print, too."""
    figure.set_label(_with_note(label, note))
    if note:
        figure.supxlabel(note, fontsize=7.5, color=GRAY)
    return figure


def _with_note(label: str, note: str) -> str:
    return f"{label} {'; '.join(note.splitlines())}".strip()


class Interactive:
    """A plotly figure, drawn by JupyterLab, and in a page by plotly's script, which is loaded once.

    label is its alternative text, and all that a browser without scripts shows. note ends the label
    and stands below in small print, before `below`, which is HTML.
    """

    def __init__(self, figure: go.Figure, label: str, note: str = "", below: str = ""):
        self.figure, self.label, self.below = figure, _with_note(label, note), below
        self.note = html.escape(note).replace("\n", "<br>")  # a line is a text, to be translated
        figure.update_layout(paper_bgcolor=NONE, plot_bgcolor=NONE, font_color=GRAY, font_size=12)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        label, script = html.escape(self.label), (HERE / "plot.js").read_text(encoding="utf-8")
        config = {"responsive": True, "displaylogo": False, "showTips": False}
        config["displayModeBar"] = self.figure.layout.dragmode is not False
        config["modeBarButtonsToRemove"] = ["sendChartToCloud"]  # pages ask no other host
        name = f"figure-{crc32(self.figure.to_json().encode()):x}"  # the same in each build
        options = {"div_id": name, "config": config, "post_script": script}
        plot = self.figure.to_html(full_html=False, include_plotlyjs=False, **options)
        small = f'<p class="hw3-note">{self.note}</p>' if self.note else ""
        page = (
            f'<div class="hw3-interactive" role="figure" aria-label="{label}">'
            f'<noscript><p class="hw3-text">{label}</p></noscript>'
            f'<div class="hw3-plot">{plot}</div>{small}{self.below}</div>'
        )
        first, *rest = *filter(None, (self.figure.layout.title.text, *self.note.split("<br>"))), ""
        title = {"text": first, "subtitle": {"text": "<br>".join(rest)}, "font": {"size": 13}}
        title |= {"y": 0.98, "yanchor": "top", "yref": "container", "automargin": True}
        lab = json.loads(go.Figure(self.figure).update_layout(title=title).to_json())
        return {"application/vnd.plotly.v1+json": lab, "text/html": page, "text/plain": self.label}


def plain(text: str) -> str:
    """Return text from outside, such as a file's name, with all punctuation escaped for Markdown.

    CommonMark allows that for all of ASCII, so no sign of Markdown or HTML in it means anything.
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def table(frame: pd.DataFrame, digits: int = 4) -> Styler:
    """Return a data frame as a page's table: 1,234, floats with so many digits, no index.

    The first column and those of words alone stand to the left; only long texts are broken.
    """
    name = f"{crc32(frame.to_csv().encode()):x}"  # pandas draws one: no page would be made twice
    lengths = frame.map(lambda cell: len(cell) if isinstance(cell, str) else 0).max()
    words = frame.map(lambda cell: isinstance(cell, str) and cell[:1].isalpha()).all()
    long = [f".col{i}" for i, most in enumerate(lengths) if most > 40]
    short = [f"td.col{i}" for i, most in enumerate(lengths) if most < 25 or not long]
    left = [f".col{i}" for i, only_words in enumerate(words) if only_words or i == 0]
    rules = {"text-align: right; white-space: normal; padding: 0.2em 0.6em": ["th, td"]}
    # a minimal width, or a phone has a word a line
    rules |= {"text-align: left": left, "white-space: nowrap": short, "min-width: 14em": long}
    styles = [{"selector": ", ".join(of), "props": css} for css, of in rules.items() if of]
    styler = Styler(frame, uuid=name, cell_ids=False, table_attributes='class="dataframe"')
    styler.format(thousands=",", precision=digits, na_rep="none", escape="html")
    return styler.hide(axis="index").set_table_styles(styles)


def source(function) -> Markdown:
    """Return the source of a function or class, to be shown where a chapter first calls it."""
    return Markdown(f"```python\n{inspect.getsource(function)}```")


def calculator(start: dict, cost) -> HTML:
    """Return the page's calculator, which starts with a geometry and its `complexity.Cost`."""
    values = {name: f"{value:,}" for name, value in vars(cost).items()} | start
    values["additions_with_bias"] = f"{cost.additions + cost.bias_additions:,}"
    return HTML(fill("calculator.html", values))


def fill(page: str, values: dict) -> str:
    """Return a page that lies in hw3, with the value of each [[name]] in its place."""
    text = (HERE / page).read_text(encoding="utf-8")
    return re.sub(r"\[\[(\w+)\]\]", lambda gap: str(values[gap[1]]), text)


def head(recorded=(), own=()) -> None:
    """Print, as JSON, the data, profiles, devices and dates of a page's Runs, for its head."""
    facts = {}
    for kind, runs in (("recorded", recorded), ("own", own)):
        rows = [(run.data, run.recipe.profile, run.device, run.date[:10]) for run in runs]
        table = pd.DataFrame(rows, columns=["data", "profile", "device", "date"])
        facts[kind] = {name: sorted(set(table[name])) for name in table}
    if not own:  # a page that is made today, where Keras is not loaded on a CPU
        device = machine.device() if "keras" in sys.modules else "CPU"
        facts["own"] |= {"device": [device], "date": [datetime.now(UTC).date().isoformat()]}
    print(json.dumps(facts))
