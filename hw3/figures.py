"""The figures of the report: one function each, which takes data and returns a figure, and never
calls show.

They are plain matplotlib Figures (not pyplot's, which would be drawn twice in a notebook) or, where
they answer to pointing, `Interactive`. Each says in words what it shows, its axes and its main
reading, from the same data: the label of the figure, which becomes its alternative text in a page.
"""

import base64
import html
import io
import json
import re
from base64 import b64encode
from collections import Counter
from itertools import cycle
from pathlib import Path
from zlib import crc32

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from IPython import get_ipython
from IPython.core.pylabtools import retina_figure
from IPython.display import HTML
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from pandas.io.formats.style import Styler
from PIL import Image
from plotly.subplots import make_subplots

HERE = Path(__file__).parent
WIDTH = 7.4  # inches: as wide as the text of a page


def style() -> None:
    """Set the look of all figures: colors that color-blind people tell apart, white ground, sharp
    on dense screens.
    """
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.85)
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 220,
            "figure.facecolor": "white",
            "axes.titleweight": "bold",
        }
    )
    if get_ipython() is not None:  # in a notebook: PNGs of twice the pixels, shown at the same size
        import matplotlib_inline.backend_inline  # noqa: F401  registers its own way to show figures, so it comes first

        get_ipython().display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> tuple[str, dict]:
    """Return a figure as a PNG in base64, of twice the pixels that it is shown with, and the
    metadata of the image.
    """
    png, size = retina_figure(figure, bbox_inches="tight")
    small = io.BytesIO()  # 256 colors look the same and take less than half the bytes
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    # without a height, which would stretch the figure where a page is narrower
    return b64encode(small.getvalue()).decode(), {"width": size["width"], "alt": figure.get_label()}


def panels(height: float, rows: int = 1, columns: int = 1, **options) -> tuple:
    """Return a figure as wide as a page's text, height in inches, and its axes, one or an array;
    options as for its subplots.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def labeled(figure: Figure, label: str, note: str = "") -> Figure:
    """Return a figure with its label. A note, such as Run.label(), ends the label and stands below
    the figure in small print.
    """
    figure.set_label(f"{label} {'; '.join(note.splitlines())}".strip())
    if note:
        figure.supxlabel(note, fontsize=7.5, color="0.35")
    return figure


def plain(text: str) -> str:
    """Return text from outside, such as a file's name, for computed prose: the signs of Markdown
    and HTML in it mean nothing.
    """
    return re.sub(
        r"([!-/:-@\[-`{-~])", r"\\\1", text
    )  # all ASCII punctuation, as CommonMark allows


def table(frame: pd.DataFrame, digits: int = 4) -> Styler:
    """Return a data frame as a table for a page: thousands separated, floats with so many digits,
    no index.

    The first column and columns of nothing but words stand to the left, all others to the right.
    Only long texts are broken.
    """
    # pandas would draw a random one, and a page would never be the same twice
    name = f"{crc32(frame.to_csv().encode()):x}"
    shown = Styler(
        frame, uuid=name, cell_ids=False, table_attributes='class="dataframe"'
    )  # a class the themes know
    lengths = frame.map(lambda v: len(v) if isinstance(v, str) else 0).max()
    wide = [f".col{i}" for i, most in enumerate(lengths) if most > 40]
    whole = [f"td.col{i}" for i, most in enumerate(lengths) if most < 25 or not wide]
    wordy = frame.map(lambda v: isinstance(v, str) and v[:1].isalpha()).to_numpy().all(axis=0)
    words = [f".col{i}" for i, found in enumerate(wordy) if found or i == 0]
    rules = {
        "text-align: left": words,
        "white-space: nowrap": whole,
        "min-width: 14em": wide,
    }  # or a phone has a word a line
    styles = [
        {"selector": ", ".join(columns), "props": props}
        for props, columns in rules.items()
        if columns
    ]
    cells = {
        "selector": "th, td",
        "props": "text-align: right; white-space: normal; padding: 0.2em 0.6em",
    }
    return (
        shown.format(thousands=",", precision=digits, na_rep="none", escape="html")
        .hide(axis="index")
        .set_table_styles([cells, *styles])
    )


def calculator(start: dict, cost) -> HTML:
    """Return the calculator of one convolution: plain HTML and JavaScript that work in the page
    without a kernel.

    It starts with the geometry `start` and its `complexity.Cost`: all that paper and browsers
    without scripts show.
    """
    shown = {name: f"{value:,}" for name, value in vars(cost).items()} | start
    shown["additions_with_bias"] = f"{cost.additions + cost.bias_additions:,}"
    return HTML(fill("calculator.html", shown))


def fill(page: str, values: dict) -> str:
    """Return a page that lies in hw3, with the value of each [[name]] in its place."""
    return re.sub(
        r"\[\[(\w+)\]\]", lambda gap: str(values[gap[1]]), (HERE / page).read_text(encoding="utf-8")
    )


# Chapter 4: what a convolution costs


def layer_costs(table: pd.DataFrame) -> Figure:
    """Draw which layers hold the parameters and which the work.

    `table` is `complexity.layer_table(model)`; layers without multiply-adds are left out.
    """
    rows = table[table["multiply-adds"] > 0]
    figure, axes = panels(0.32 * len(rows) + 1, 1, 2, sharey=True)
    told = []
    for ax, column, color in zip(axes, ("parameters", "multiply-adds"), ("C1", "C0"), strict=True):
        share = 100 * rows[column] / table[column].sum()
        sns.barplot(x=share, y=rows["layer"], ax=ax, color=color, saturation=1)
        ax.bar_label(ax.containers[0], fmt="%.1f%%", padding=3)
        ax.set(
            title=f"where the {column} are",
            xlabel=f"share of all {column} (%)",
            ylabel="",
            xlim=(0, 1.2 * share.max()),
        )
        told.append(
            f"of the {column} most, {share.max():.1f}%, are in {rows['layer'][share.idxmax()]}"
        )
    return labeled(
        figure,
        f"Two bar charts over the same {len(rows)} layers, shares in percent: {' and '.join(told)}.",
    )


def timing(times: pd.DataFrame, slopes: dict) -> Figure:
    """Draw measured seconds against size, both logarithmic, beside a line of the predicted slope 2
    through the last.

    `times` is `complexity.measure(profile)`; `slopes` maps "n" and "C" to `complexity.loglog_slope`
    of them.
    """
    figure, axes = panels(3.4, 1, 2)
    for ax, (axis, slope) in zip(axes, slopes.items(), strict=True):
        rows = times[times["varied"] == axis]
        size, seconds = rows[axis].to_numpy(float), rows["seconds"].to_numpy()
        ax.loglog(size, 1e3 * seconds, "o", color="C0", label="measured, median")
        fitted = np.exp(slope.intercept) * size**slope.value
        ax.loglog(size, 1e3 * fitted, color="C0", label=f"fitted, slope {slope.value:.2f}")
        ax.loglog(
            size,
            1e3 * seconds[-1] * (size / size[-1]) ** 2,
            "--",
            color="C1",
            label="slope 2, through the last",
        )
        held = "C" if axis == "n" else "n"
        ax.set(
            title=f"time against {axis} ({held} = {rows[held].iloc[0]})",
            xlabel=axis,
            ylabel="milliseconds",
        )
        ax.set_xticks(size, [f"{v:.0f}" for v in size])
        ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.legend()
    told = [
        f"with {axis} the measured time grows with slope {slope.value:.2f}"
        for axis, slope in slopes.items()
    ]
    label = f"Milliseconds against size, both logarithmic, beside a line of slope 2 through the last: {', '.join(told)}."
    return labeled(figure, label)


# Chapter 5: PCA by hand


def pca_view(x, mean, axes, rebuilt, lengths) -> Figure:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, as
    `pca_space` does.
    """
    figure, ax = panels(4.4, subplot_kw={"projection": "3d"})
    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = mean + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * reach @ axes[:2]
    ax.add_collection3d(
        Poly3DCollection([corners], facecolor="0.5", alpha=0.25, label="plane of axes 1 and 2")
    )
    ax.scatter(*x.T, color="C0", depthshade=False, label="samples")
    for i, ends in enumerate(zip(rebuilt, x, strict=True), 1):
        ax.plot(*np.transpose(ends), color="C0", lw=1.5, label="residuals" if i == 1 else None)
        ax.text(*ends[1], f" {i}", fontsize=8)
    for i, color in enumerate(("C1", "C2", "C4")):
        ends = (
            mean + 2 * lengths[i] * np.array([[-1], [1]]) * axes[i]
        )  # two standard deviations each way
        ax.plot(*ends.T, color=color, lw=3, label=f"axis {i + 1}")
    ax.set(xlabel="x", ylabel="y", zlabel="z")
    ax.set_box_aspect(
        [np.ptp(limits) for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())], zoom=1.25
    )  # equal scales
    ax.view_init(elev=16, azim=-52)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    far = np.linalg.norm(x - rebuilt, axis=1)
    told = ", ".join(f"{length:.2f}" for length in lengths)
    return labeled(
        figure,
        f"The {len(x)} samples in space, the principal axes with standard deviations of {told}, the plane of the first two, and "
        f"the residuals to it: the longest, {far.max():.2f}, is that of sample {far.argmax() + 1}.",
    )


# Chapters 0 to 3: faces and results


def face_sheet(images, titles, columns: int = 8, note: str = "") -> Figure:
    """Draw gray faces (n, 48, 48) uint8 in a grid, each under its title; note says what they
    are.
    """
    same = Counter(" ".join(title.split()) for title in titles)
    told = ", ".join(f"{title} ({n})" if n > 1 else title for title, n in same.items())
    label = (
        f"A sheet of {len(images)} gray faces in {-(-len(images) // columns)} rows, titled: {told}."
    )
    return tiles(images, columns, label, titles, note, cmap="gray", vmin=0, vmax=255)


def tiles(images, columns: int, label: str, titles=(), note: str = "", **look) -> Figure:
    """Draw pictures of one size in a grid, each under its title if there are any; look as for
    matplotlib's imshow.
    """
    rows = -(-len(images) // columns)
    figure, axes = panels(
        (1.18 if len(titles) else 1.04) * WIDTH / columns * rows + 0.3, rows, columns, squeeze=False
    )
    for ax, image, title in zip(axes.flat, images, [*titles, *[""] * len(images)], strict=False):
        ax.imshow(image, **look)
        ax.set_title(title, fontsize=7.5, fontweight="normal", pad=2)
    for ax in figure.axes:
        ax.axis("off")
    return labeled(figure, label, note)


def architecture(network) -> Figure:
    """Draw a Keras network as a row of boxes: one a convolution, pooling or dense layer, as tall as
    its maps are wide.

    The number above a box is its channels or units; below stands the side of its maps.
    """
    kinds = {"Conv2D": "C0", "MaxPooling2D": "C1", "Flatten": "C7", "Dense": "C2", "Softmax": "C3"}
    boxes = [
        (type(x).__name__, tuple(x.output.shape[1:]))
        for x in network.layers
        if type(x).__name__ in kinds
    ]
    figure, ax = panels(2.6)
    for x, (kind, shape) in enumerate(boxes):
        side, channels = (shape[0], shape[-1]) if len(shape) == 3 else (0, shape[-1])
        height = (
            side if side else 4 + 4 * np.log2(channels)
        )  # dense layers: the logarithm of their width
        ax.bar(
            x,
            height,
            0.11 * np.log2(channels) if side else 0.35,
            -height / 2,
            color=kinds[kind],
            edgecolor="0.2",
            lw=0.8,
        )
        ax.text(
            x,
            height / 2 + 1.5,
            f"{channels:,}",
            ha="center",
            fontsize=7.5 if len(boxes) < 20 else 6,
        )
        if side:
            ax.text(x, -height / 2 - 1.5, f"{side}x{side}", ha="center", va="top", fontsize=7)
    names = {k: k for k in kinds} | {
        "Conv2D": "convolution 3x3",
        "MaxPooling2D": "max pooling 2x2",
        "Softmax": "softmax",
    }
    present = dict.fromkeys(kind for kind, _ in boxes)
    ax.legend(
        [mpl.patches.Patch(color=kinds[k]) for k in present], [names[k].lower() for k in present],
        ncols=len(present), loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=8,
    )  # fmt: skip
    ax.set(
        ylim=(-34, 34),
        title=f"{network.name.upper()}: channels or units above, width of the maps below",
    )
    ax.axis("off")
    told = ", ".join(
        names[kind].lower() + f" {' x '.join(map(str, shape))}" for kind, shape in boxes
    )
    return labeled(
        figure,
        f"The layers of the {network.name.upper()} in a row, with the shape of what they give: {told}.",
    )


EVEN = 1 / 7, "one in seven"


def history_picture(histories: dict, note: str = "", floor=EVEN) -> Figure:
    """Draw loss and accuracy against the epoch: solid on held-out images, dashed in training.
    Histories as in Run.history.

    floor is an accuracy to compare with, which gets a dotted line, and its name.
    """
    figure, axes = panels(3.5, 1, 2)
    for ax, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for i, (name, history) in enumerate(histories.items()):
            epochs = np.arange(1, len(history["loss"]) + 1)
            look = {
                "color": f"C{i}",
                "marker": "o" if len(epochs) < 30 else None,
                "ms": 3.5,
                "lw": 1.5,
            }
            ax.plot(epochs, history[f"val_{quantity}"], "-", label=f"{name}, held-out", **look)
            ax.plot(epochs, history[quantity], "--", alpha=0.75, label=f"{name}, training", **look)
        ax.set(xlabel="epoch", title=quantity)
        ax.xaxis.get_major_locator().set_params(integer=True)
        low, high = ax.dataLim.intervaly
        if quantity == "loss" and high > 8 * low > 0:
            ax.set(yscale="log", title="loss (logarithmic)")
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    ax.set_ylim(bottom=0)
    ax.axhline(floor[0], color="0.5", lw=1, ls=":", label=floor[1])
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    told = [
        f"{name}, {len(h['loss'])} epochs: held-out loss from {h['val_loss'][0]:.2f} to {h['val_loss'][-1]:.2f}, "
        f"held-out accuracy from {h['val_accuracy'][0]:.1%} to {h['val_accuracy'][-1]:.1%}, "
        f"training accuracy at the end {h['accuracy'][-1]:.1%}"
        for name, h in histories.items()
    ]
    return labeled(
        figure, f"Loss, left, and accuracy, right, against the epoch. {'; '.join(told)}.", note
    )


def confusion_matrices(
    matrices: dict, names, note: str = "", counts=None, sides=("true", "predicted")
) -> Figure:
    """Draw matrices of row shares (7, 7) side by side with seaborn, titled by their keys; names are
    the classes in order.

    counts maps some of the keys to the whole numbers that stand in the cells instead of the shares.
    sides say what a row and a column are.
    """
    figure, axes = panels(
        (0.62 if len(matrices) > 1 else 0.75) * WIDTH, 1, len(matrices), squeeze=False
    )
    for ax, (title, shares) in zip(axes.flat, matrices.items(), strict=True):
        whole = (counts or {}).get(title)
        sns.heatmap(
            shares, annot=shares if whole is None else whole, fmt=".2f" if whole is None else "d", vmin=0, vmax=1,
            cmap="Blues", cbar=False, square=True, linewidths=0.5, linecolor="white", annot_kws={"size": 7},
            xticklabels=names, yticklabels=names, ax=ax,
        )  # fmt: skip
        ax.tick_params(labelsize=7.5)
        ax.set(xlabel=sides[1], ylabel=sides[0], title=title)
    told = [
        f"{title}: {_read_matrix(np.asarray(shares), names)}" for title, shares in matrices.items()
    ]
    return labeled(
        figure, f"Shares of a row, {sides[0]}, by column, {sides[1]}. {' '.join(told)}", note
    )


def _read_matrix(shares: np.ndarray, names) -> str:
    """Say what a matrix of row shares shows: best and worst recall and the largest confusion. Rows
    of absent classes are NaN.
    """
    known = np.nan_to_num(shares, nan=-1)
    right, wrong = known.diagonal(), np.where(np.eye(len(shares), dtype=bool), -1, known)
    best, worst = right.argmax(), np.where(right < 0, 2, right).argmin()
    true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
    return (
        f"most often right is {names[best]} ({right[best]:.2f}), least often {names[worst]} ({right[worst]:.2f}); "
        f"the largest confusion is {names[true]} taken for {names[taken]} ({wrong[true, taken]:.2f})."
    )


def intervals(
    table: pd.DataFrame,
    value: str,
    low: str,
    high: str,
    label: str,
    note: str = "",
    level: float = 0.95,
    points=False,
) -> Figure:
    """Draw one row of table a line: a dot at its value and a bar over its interval, all shares. The
    index names the rows.

    The axis is in percent, or, for differences of shares, in points, which label should say.
    """
    percent = f"{100 * level:.4g}%"
    (figure, ax), y = panels(0.27 * len(table) + 0.9), np.arange(len(table))[::-1]
    ax.hlines(y, table[low], table[high], color="C0", lw=4, alpha=0.35)
    ax.plot(table[value], y, "o", color="C0")
    ax.set_yticks(y, table.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, symbol="" if points else "%"))
    ax.axvline(0, color="0.4", lw=1)
    ax.set(
        xlabel=f"{label}, with its {percent} interval", xlim=(min(0, 1.1 * table[low].min()), None)
    )
    known = table.dropna(subset=[value])
    ends = {
        "highest": known.iloc[known[value].argmax()],
        "lowest": known.iloc[known[value].argmin()],
    }
    write = (lambda share: f"{100 * share:+.1f}") if points else "{:.1%}".format
    told = [
        f"{end} is {r.name} with {write(r[value])} ({write(r[low])} to {write(r[high])})"
        for end, r in ends.items()
    ]
    return labeled(
        figure,
        f"{label}, {len(table)} rows, each a dot in a bar, its {percent} interval: {'; '.join(told)}.",
        note,
    )


def lines(table: pd.DataFrame, xlabel: str, ylabel: str) -> Figure:
    """Draw each column of table as a line against its index."""
    figure, ax = panels(2.6)
    for name, dashes in zip(table, ("-", "--", ":", "-."), strict=False):
        ax.plot(table.index, table[name], dashes, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    first, last = table.index[[0, -1]]
    told = "; ".join(
        f"{name} from {table[name].iloc[0]:.2g} to {table[name].iloc[-1]:.2g}" for name in table
    )
    return labeled(figure, f"{ylabel} against {xlabel}, from {first:.3g} to {last:.3g}: {told}.")


# What the network looks at


# Figures that answer to pointing

COLORS = sns.color_palette("colorblind").as_hex()  # those of py: color-blind people tell them apart
NONE = "rgba(0,0,0,0)"  # the ground of all plots is the page's
GRAY = "#808080"  # of words and lines until the page gives its own color
GRID = {
    "gridcolor": "rgba(128,128,128,0.3)",
    "zerolinecolor": "rgba(128,128,128,0.3)",
    "title_standoff": 8,
}
SPIKE = {"spikecolor": GRAY, "spikethickness": 1, "spikedash": "solid"}
SHOWN = 6  # faces of one cell of a confusion matrix


class Interactive:
    """A plotly figure that draws in JupyterLab (plotly's own format) and in the built page (HTML
    and one local script).

    picture is a figure of py from the same data; its label is the alternative text of both. note,
    such as Run.label(), stands below in small print, and then more HTML.
    """

    # In the page, text takes the color of the text around it, also when the reader changes the
    # theme, and the plot the width of its box, also when that changes without the window: by a
    # sidebar that is put away, or the padding that the dark theme adds.
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
        self.figure, self.label, self.note, self.below = (
            figure,
            picture.get_label(),
            html.escape(note),
            below,
        )
        self.picture = png(picture)[0]
        figure.update_layout(
            paper_bgcolor=NONE, plot_bgcolor=NONE, font={"color": GRAY, "size": 12}
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        drawn, label = self.figure.to_json(), html.escape(self.label)
        title = "<br>".join(
            filter(
                None,
                [self.figure.layout.title.text, f"<sub>{self.note}</sub>".replace("\n", "<br>")],
            )
        )
        alone = go.Figure(self.figure).update_layout(
            title={"text": title, "yref": "container", "automargin": True}
        )
        lines = self.note.replace(
            "\n", "<br>"
        )  # each line is a text of its own, also to be translated
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
    """Draw loss and accuracy of Runs, named by the keys, against the epoch, with the label of each
    run below.

    A dotted line is what always answering the most frequent emotion has right of all labeled images
    that the first run predicted.
    """
    notes = dict.fromkeys(run.label() for run in runs.values())
    counts = sum(
        np.bincount(labels, minlength=256)
        for _, labels, _ in next(iter(runs.values())).predictions.values()
    )[:7]
    floor = counts.max() / counts.sum(), "most frequent emotion"
    return history_curves(
        {name: run.history for name, run in runs.items()}, "\n".join(notes), floor
    )


def history_curves(histories: dict, note: str = "", floor=EVEN) -> Interactive:
    """Draw loss and accuracy against the epoch, the values of an epoch where the reader points.
    Histories as in Run.history.

    floor is an accuracy to compare with, which gets a dotted line, and its name.
    """
    picture = history_picture(histories, note, floor)
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    longest = max(len(history["loss"]) for history in histories.values())
    for row, quantity in enumerate(("loss", "accuracy"), 1):
        for color, (name, history) in zip(cycle(COLORS), histories.items(), strict=False):
            for key, part, dash in (
                (f"val_{quantity}", "held-out", "solid"),
                (quantity, "training", "dash"),
            ):
                values = np.round(history[key], 5).tolist()
                told = f"%{{y}} {name}, {part}" + " (epoch %{x})" * (
                    len(values) < longest
                )  # one beside it may be told
                figure.add_scatter(
                    x=list(range(1, len(values) + 1)), y=values, hovertemplate=f"{told}<extra></extra>",
                    mode="lines+markers" if len(values) < 30 else "lines", line={"color": color, "dash": dash, "width": 2},
                    name=name, legendgroup=name, showlegend=row == 1 and part == "held-out", row=row, col=1,
                )  # fmt: skip
        scale = picture.axes[row - 1].get_yscale()
        figure.update_yaxes(
            title=quantity, type=scale, dtick="D2" if scale == "log" else None, row=row, col=1
        )
    figure.update_yaxes(tickformat="~g", hoverformat=".3f", row=1, col=1)
    figure.update_yaxes(
        tickformat=".0%", hoverformat=".1%", rangemode="tozero", row=2, col=1
    )  # or hundredths look large
    middle = [
        h[k][longest // 4 : 3 * longest // 4]
        for h in histories.values()
        for k in ("accuracy", "val_accuracy")
    ]
    near = np.concatenate(middle) - floor[0]
    near = near[abs(near) < 0.08] > 0
    anchor = (
        "top" if near.sum() > len(near) / 2 else "bottom"
    )  # its name stands where fewer curves run, under or over the line
    said = {"text": floor[1], "x": 0.5, "xanchor": "center", "yanchor": anchor}
    figure.add_hline(
        floor[0], line={"color": GRAY, "dash": "dot", "width": 1}, annotation=said, row=2, col=1
    )
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_xaxes(
        range=[1 - 0.03 * longest, 1.03 * longest], dtick=1 if longest < 12 else None
    )  # also with some hidden
    figure.update_xaxes(unifiedhovertitle_text="epoch %{x}", fixedrange=True, **GRID, **SPIKE)
    figure.update_yaxes(fixedrange=True, **GRID)
    figure.update_layout(
        height=520, margin={"l": 50, "r": 10, "t": 10, "b": 45}, dragmode=False, hovermode="x unified",
        # pixels, about half of those of an epoch: no farther one is told
        hoverdistance=min(20, max(1, 300 // longest)),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "bgcolor": NONE,
                "title": {"text": "solid: held-out, dashed: training", "side": "top", "font": {"size": 12}}},
    )  # fmt: skip
    return Interactive(figure, picture, note)


def confusion_matrix(
    cells: pd.DataFrame, names, title: str, note: str = "", whole: bool = False, faces=None
) -> Interactive:
    """Draw a confusion matrix that tells count, share and interval of a cell, by pointing or by two
    lists below it.

    cells is `metrics.cells` of the counts; whole writes counts instead of shares. faces (labels
    (n,), probabilities (n, 7), images (n, 48, 48) uint8) are those that were counted: a click on a
    cell shows the SHOWN of it that the network was surest of.
    """
    size = len(names)
    count, share = (cells[c].to_numpy().reshape(size, size) for c in ("count", "share"))
    told = [
        f"true {names[i]}, predicted {names[j]}:<br>"
        + (
            f"{c.count:,} of {c.n:,} faces, {c.share:.1%}<br>(95% interval {c.low:.1%} to {c.high:.1%})"
            if c.n
            else "no faces"
        )
        for (i, j), c in zip(np.ndindex(size, size), cells.itertuples(), strict=True)
    ]
    figure = go.Figure()
    figure.add_heatmap(
        z=share.round(4).tolist(), x=names, y=names, text=count.tolist(), hovertext=np.reshape(told, (size, size)).tolist(),
        texttemplate="%{text:,}" if whole else "%{z:.2f}", hoverinfo="text", zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
        # under words of the page's color in both themes
        colorscale=[(0, "rgba(1,115,178,0.04)"), (1, "rgba(1,115,178,0.7)")],
    )  # fmt: skip
    figure.update_xaxes(title="predicted", automargin=True, fixedrange=True, showgrid=False)
    figure.update_yaxes(
        title="true", automargin=True, autorange="reversed", fixedrange=True, showgrid=False
    )
    margin = {"l": 10, "r": 10, "t": 40, "b": 10}
    figure.update_layout(
        title={"text": title, "font": {"size": 13}, "x": 0.5},
        height=480,
        margin=margin,
        dragmode=False,
    )
    often = int(
        (count - np.diag(count.diagonal())).argmax()
    )  # the mistake made most often is shown first
    gaps = {
        "start": list(divmod(often, size)),
        "shown": SHOWN,
        "color": COLORS[1],
        "pictured": int(faces is not None),
    }
    gaps["sheet"] = _face_sheet(size, *faces) if faces else ""
    shares = {title: share}
    picture = confusion_matrices(shares, names, note, {title: count} if whole else None)
    return Interactive(figure, picture, note, fill("cell.html", gaps))


def _face_sheet(size: int, labels, probabilities, images) -> str:
    """Return a picture in base64, one row a cell of the matrix: of its faces those that the network
    was surest of.
    """
    order = np.argsort(-probabilities.max(1), kind="stable")
    cell = (size * labels.astype(int) + probabilities.argmax(1))[order]
    sheet = np.zeros((size * size, SHOWN, *images.shape[1:]), np.uint8)
    for c in range(size * size):
        found = images[order[cell == c][:SHOWN]]
        sheet[c, : len(found)] = found
    small = io.BytesIO()
    Image.fromarray(sheet.swapaxes(1, 2).reshape(size * size * images.shape[1], -1)).save(
        small, "WEBP", quality=80
    )
    return base64.b64encode(small.getvalue()).decode()


def pca_space(x, mean, axes, rebuilt, lengths) -> Interactive:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, as a plot
    that can be turned.

    x, rebuilt: (N, 3) samples and their feet on the plane; mean: (3,); axes: (3, 3), one axis a
    row; lengths: (3,), the standard deviation along each axis, in the units of the samples.
    """
    blue, orange, green, pink, gray = (COLORS[i] for i in (0, 1, 2, 4, 7))
    figure = go.Figure()

    def segments(starts, ends, **options):
        gap = np.full_like(starts, np.nan)  # a line breaks at NaN
        xyz = np.stack([starts, ends, gap], axis=1).reshape(-1, 3)
        figure.add_scatter3d(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2], mode="lines", **options)

    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = np.array(
        [
            mean + a * reach[0] * axes[0] + b * reach[1] * axes[1]
            for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))
        ]
    )
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
    for i, (axis, length, color) in enumerate(
        zip(axes, lengths, (orange, green, pink), strict=True), 1
    ):
        ends = mean + 2 * length * np.array([[-1], [1]]) * axis  # two standard deviations each way
        segments(
            ends[:1],
            ends[1:],
            line={"color": color, "width": 7},
            name=f"axis {i}",
            hoverinfo="name",
        )
    box = {"backgroundcolor": NONE, "gridcolor": "#a0a0a0", "zerolinecolor": "#a0a0a0"}
    camera = {"eye": {"x": 1.1, "y": -1.4, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.15}}
    figure.update_layout(
        height=460, margin={"l": 0, "r": 0, "t": 0, "b": 0}, modebar={"bgcolor": NONE, "color": GRAY, "activecolor": COLORS[1]},
        legend={"orientation": "h", "y": 0, "yanchor": "top", "bgcolor": NONE},
        scene={"xaxis": box, "yaxis": box, "zaxis": box, "aspectmode": "data", "camera": camera},
    )  # fmt: skip
    edge = {
        "eye": dict(zip("xyz", 2 * axes[1], strict=True)),
        "up": dict(zip("xyz", axes[2], strict=True)),
    }
    places = {
        "Seen from its edge": edge,
        "Seen as at first": camera | {"up": {"x": 0, "y": 0, "z": 1}},
    }
    buttons = [
        f"<button type='button' data-camera='{json.dumps(place)}'>{name}</button>"
        for name, place in places.items()
    ]
    below = f"<p class='hw3-places'>{' '.join(buttons)}</p>"
    return Interactive(figure, pca_view(x, mean, axes, rebuilt, lengths), below=below)
