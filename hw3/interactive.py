"""Every figure that answers to pointing: one function each, which takes data and returns an `Interactive`.

Behind each lies a picture of the same data from plots.py, which is what paper and browsers without scripts show.
"""

import base64
import html
import io
import json
from itertools import cycle
from zlib import crc32

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image
from plotly.subplots import make_subplots

from hw3 import plots

COLORS = sns.color_palette("colorblind").as_hex()  # those of plots.py: color-blind people tell them apart
NONE = "rgba(0,0,0,0)"  # the ground of all plots is the page's
GRAY = "#808080"  # of words and lines until the page gives its own color
GRID = {"gridcolor": "rgba(128,128,128,0.3)", "zerolinecolor": "rgba(128,128,128,0.3)", "title_standoff": 8}
SPIKE = {"spikecolor": GRAY, "spikethickness": 1, "spikedash": "solid"}
SHOWN = 6  # faces of one cell of a confusion matrix


class Interactive:
    """A plotly figure that draws in JupyterLab (plotly's own format) and in the built page (HTML and one local script).

    picture is a figure of plots.py from the same data; its label is the alternative text of both. note, such as Run.label(),
    stands below in small print, and then more HTML.
    """

    # In the page, text takes the color of the text around it, also when the reader changes the theme, and the plot the width of
    # its box, also when that changes without the window: by a sidebar that is put away, or the padding that the dark theme adds.
    FOLLOW_PAGE = """
        const figure = document.getElementById("{plot_id}"), box = figure.parentElement;
        const follow = () => {
            const page = getComputedStyle(box), color = page.color;
            const ground = page.getPropertyValue("--pst-color-background").trim() || "#fff";
            Plotly.update(figure, {"textfont.color": color}, {"font.color": color, "hoverlabel.bgcolor": ground});
        };
        new MutationObserver(follow).observe(document.documentElement, {attributeFilter: ["data-theme"]});
        new ResizeObserver(() => box.clientWidth && Plotly.Plots.resize(figure)).observe(box);
        box.addEventListener("wheel", (event) => event.stopPropagation(), {capture: true, passive: true});  // it scrolls the page
        box.closest(".hw3-interactive").addEventListener("click", ({target}) => {  // the buttons of pca_space
            if (target.dataset.camera) see(JSON.parse(target.dataset.camera));
        });
        const see = (camera) => {
            const away = box.clientWidth < 500 ? 1.7 : 1;  // nearer, a phone would cut the axes' names off
            const eye = Object.fromEntries([..."xyz"].map((axis) => [axis, away * camera.eye[axis]]));
            Plotly.relayout(figure, {"scene.camera": {...camera, eye}});
        };
        if (figure.layout.scene) see(figure.layout.scene.camera);
        follow();"""

    def __init__(self, figure: go.Figure, picture: Figure, note: str = "", below: str = ""):
        self.figure, self.label, self.note, self.below = figure, picture.get_label(), html.escape(note), below
        self.picture = plots.png(picture)[0]
        figure.update_layout(paper_bgcolor=NONE, plot_bgcolor=NONE, font={"color": GRAY, "size": 12})

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        drawn, label = self.figure.to_json(), html.escape(self.label)
        title = "<br>".join(filter(None, [self.figure.layout.title.text, f"<sub>{self.note}</sub>".replace("\n", "<br>")]))
        alone = go.Figure(self.figure).update_layout(title={"text": title, "yref": "container", "automargin": True})
        lines = self.note.replace("\n", "<br>")  # each line is a text of its own, also to be translated
        small = f'<p class="hw3-note">{lines}</p>' * bool(self.note)
        page = self.figure.to_html(
            full_html=False,
            include_plotlyjs=False,  # the page has it, once for all figures
            div_id=f"figure-{crc32(drawn.encode()):x}",  # the same figure gives the same page
            config={
                "responsive": True,
                "displaylogo": False,
                "showTips": False,
                "displayModeBar": self.figure.layout.dragmode is not False,
                "modeBarButtonsToRemove": ["sendChartToCloud"],  # pages ask no other host
            },
            post_script=self.FOLLOW_PAGE,
        )
        return {
            "application/vnd.plotly.v1+json": json.loads(alone.to_json()),
            "text/html": f'<div class="hw3-interactive" role="figure" aria-label="{label}">'
            f'<img alt="{label}" src="data:image/png;base64,{self.picture}"><div class="hw3-plot">{page}</div>'
            f"{small}{self.below}</div>",
            "text/plain": self.label,
        }


def training_curves(runs: dict) -> Interactive:
    """Draw loss and accuracy of Runs, named by the keys, against the epoch, with the label of each run below.

    A dotted line is what always answering the most frequent emotion has right of all labeled images that the first run predicted.
    """
    notes = dict.fromkeys(run.label() for run in runs.values())
    counts = sum(np.bincount(labels, minlength=256) for _, labels, _ in next(iter(runs.values())).predictions.values())[:7]
    floor = counts.max() / counts.sum(), "most frequent emotion"
    return history_curves({name: run.history for name, run in runs.items()}, "\n".join(notes), floor)


def history_curves(histories: dict, note: str = "", floor=plots.EVEN) -> Interactive:
    """Draw loss and accuracy against the epoch, the values of an epoch where the reader points. Histories as in Run.history.

    floor is an accuracy to compare with, which gets a dotted line, and its name.
    """
    picture = plots.history_curves(histories, note, floor)
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    longest = max(len(history["loss"]) for history in histories.values())
    for row, quantity in enumerate(("loss", "accuracy"), 1):
        for color, (name, history) in zip(cycle(COLORS), histories.items(), strict=False):
            for key, part, dash in ((f"val_{quantity}", "held-out", "solid"), (quantity, "training", "dash")):
                values = np.round(history[key], 5).tolist()
                told = f"%{{y}} {name}, {part}" + " (epoch %{x})" * (len(values) < longest)  # one beside it may be told
                figure.add_scatter(
                    x=list(range(1, len(values) + 1)), y=values, hovertemplate=f"{told}<extra></extra>",
                    mode="lines+markers" if len(values) < 30 else "lines", line={"color": color, "dash": dash, "width": 2},
                    name=name, legendgroup=name, showlegend=row == 1 and part == "held-out", row=row, col=1,
                )  # fmt: skip
        scale = picture.axes[row - 1].get_yscale()
        figure.update_yaxes(title=quantity, type=scale, dtick="D2" if scale == "log" else None, row=row, col=1)
    figure.update_yaxes(tickformat="~g", hoverformat=".3f", row=1, col=1)
    figure.update_yaxes(tickformat=".0%", hoverformat=".1%", rangemode="tozero", row=2, col=1)  # or hundredths look large
    middle = [h[k][longest // 4 : 3 * longest // 4] for h in histories.values() for k in ("accuracy", "val_accuracy")]
    near = np.concatenate(middle) - floor[0]
    near = near[abs(near) < 0.08] > 0
    anchor = "top" if near.sum() > len(near) / 2 else "bottom"  # its name stands where fewer curves run, under or over the line
    said = {"text": floor[1], "x": 0.5, "xanchor": "center", "yanchor": anchor}
    figure.add_hline(floor[0], line={"color": GRAY, "dash": "dot", "width": 1}, annotation=said, row=2, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_xaxes(range=[1 - 0.03 * longest, 1.03 * longest], dtick=1 if longest < 12 else None)  # also with some hidden
    figure.update_xaxes(unifiedhovertitle_text="epoch %{x}", fixedrange=True, **GRID, **SPIKE)
    figure.update_yaxes(fixedrange=True, **GRID)
    figure.update_layout(
        height=520, margin={"l": 50, "r": 10, "t": 10, "b": 45}, dragmode=False, hovermode="x unified",
        hoverdistance=min(20, max(1, 300 // longest)),  # pixels, about half of those of an epoch: no farther one is told
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "bgcolor": NONE,
                "title": {"text": "solid: held-out, dashed: training", "side": "top", "font": {"size": 12}}},
    )  # fmt: skip
    return Interactive(figure, picture, note)


def confusion_matrix(cells: pd.DataFrame, names, title: str, note: str = "", whole: bool = False, faces=None) -> Interactive:
    """Draw a confusion matrix that tells count, share and interval of a cell, by pointing or by two lists below it.

    cells is `metrics.cells` of the counts; whole writes counts instead of shares. faces (labels (n,), probabilities (n, 7),
    images (n, 48, 48) uint8) are those that were counted: a click on a cell shows the SHOWN of it that the network was
    surest of.
    """
    size = len(names)
    count, share = (cells[c].to_numpy().reshape(size, size) for c in ("count", "share"))
    told = [
        f"true {names[i]}, predicted {names[j]}:<br>"
        + (f"{c.count:,} of {c.n:,} faces, {c.share:.1%}<br>(95% interval {c.low:.1%} to {c.high:.1%})" if c.n else "no faces")
        for (i, j), c in zip(np.ndindex(size, size), cells.itertuples(), strict=True)
    ]
    figure = go.Figure()
    figure.add_heatmap(
        z=share.round(4).tolist(), x=names, y=names, text=count.tolist(), hovertext=np.reshape(told, (size, size)).tolist(),
        texttemplate="%{text:,}" if whole else "%{z:.2f}", hoverinfo="text", zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
        colorscale=[(0, "rgba(1,115,178,0.04)"), (1, "rgba(1,115,178,0.7)")],  # under words of the page's color in both themes
    )  # fmt: skip
    figure.update_xaxes(title="predicted", automargin=True, fixedrange=True, showgrid=False)
    figure.update_yaxes(title="true", automargin=True, autorange="reversed", fixedrange=True, showgrid=False)
    margin = {"l": 10, "r": 10, "t": 40, "b": 10}
    figure.update_layout(title={"text": title, "font": {"size": 13}, "x": 0.5}, height=480, margin=margin, dragmode=False)
    often = int((count - np.diag(count.diagonal())).argmax())  # the mistake made most often is shown first
    gaps = {"start": list(divmod(often, size)), "shown": SHOWN, "color": COLORS[1], "pictured": int(faces is not None)}
    gaps["sheet"] = _face_sheet(size, *faces) if faces else ""
    shares = {title: share}
    picture = plots.confusion_matrices(shares, names, note, {title: count} if whole else None)
    return Interactive(figure, picture, note, plots.fill("cell.html", gaps))


def _face_sheet(size: int, labels, probabilities, images) -> str:
    """Return a picture in base64, one row a cell of the matrix: of its faces those that the network was surest of."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    cell = (size * labels.astype(int) + probabilities.argmax(1))[order]
    sheet = np.zeros((size * size, SHOWN, *images.shape[1:]), np.uint8)
    for c in range(size * size):
        found = images[order[cell == c][:SHOWN]]
        sheet[c, : len(found)] = found
    small = io.BytesIO()
    Image.fromarray(sheet.swapaxes(1, 2).reshape(size * size * images.shape[1], -1)).save(small, "WEBP", quality=80)
    return base64.b64encode(small.getvalue()).decode()


def pca_space(x, mean, axes, rebuilt, lengths) -> Interactive:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, as a plot that can be turned.

    x, rebuilt: (N, 3) samples and their feet on the plane; mean: (3,); axes: (3, 3), one axis a row; lengths: (3,), the
    standard deviation along each axis, in the units of the samples.
    """
    blue, orange, green, pink, gray = (COLORS[i] for i in (0, 1, 2, 4, 7))
    figure = go.Figure()

    def segments(starts, ends, **options):
        gap = np.full_like(starts, np.nan)  # a line breaks at NaN
        xyz = np.stack([starts, ends, gap], axis=1).reshape(-1, 3)
        figure.add_scatter3d(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2], mode="lines", **options)

    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = np.array([mean + a * reach[0] * axes[0] + b * reach[1] * axes[1] for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))])
    figure.add_mesh3d(
        x=corners[:, 0], y=corners[:, 1], z=corners[:, 2], i=[0, 0], j=[1, 2], k=[2, 3],
        color=gray, opacity=0.3, name="plane of axes 1 and 2", showlegend=True, hoverinfo="skip",
    )  # fmt: skip
    hover = "sample %{text}: (%{x}, %{y}, %{z})<extra></extra>"
    figure.add_scatter3d(
        x=x[:, 0], y=x[:, 1], z=x[:, 2], text=[str(i + 1) for i in range(len(x))], mode="markers+text",
        marker={"size": 5, "color": blue}, textposition="top center", name="samples", hovertemplate=hover,
    )  # fmt: skip
    segments(rebuilt, x, line={"color": blue, "width": 4}, name="residuals", hoverinfo="skip")
    for i, (axis, length, color) in enumerate(zip(axes, lengths, (orange, green, pink), strict=True), 1):
        ends = mean + 2 * length * np.array([[-1], [1]]) * axis  # two standard deviations each way
        segments(ends[:1], ends[1:], line={"color": color, "width": 7}, name=f"axis {i}", hoverinfo="name")
    box = {"backgroundcolor": NONE, "gridcolor": "#a0a0a0", "zerolinecolor": "#a0a0a0"}
    camera = {"eye": {"x": 1.1, "y": -1.4, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.15}}
    figure.update_layout(
        height=460, margin={"l": 0, "r": 0, "t": 0, "b": 0}, modebar={"bgcolor": NONE, "color": GRAY, "activecolor": COLORS[1]},
        legend={"orientation": "h", "y": 0, "yanchor": "top", "bgcolor": NONE},
        scene={"xaxis": box, "yaxis": box, "zaxis": box, "aspectmode": "data", "camera": camera},
    )  # fmt: skip
    edge = {"eye": dict(zip("xyz", 2 * axes[1], strict=True)), "up": dict(zip("xyz", axes[2], strict=True))}
    places = {"Seen from its edge": edge, "Seen as at first": camera | {"up": {"x": 0, "y": 0, "z": 1}}}
    buttons = [f"<button type='button' data-camera='{json.dumps(place)}'>{name}</button>" for name, place in places.items()]
    below = f"<p class='hw3-places'>{' '.join(buttons)}</p>"
    return Interactive(figure, plots.pca_view(x, mean, axes, rebuilt, lengths), below=below)
