"""The figures of the report: one function each, which takes data and returns a figure, and never calls show.

They are plain matplotlib Figures (not pyplot's, which would be drawn twice in a notebook); those that answer to pointing are in
interactive.py. Each says in words what it shows, its axes and its main reading, from the same data: the
label of the figure, which becomes its alternative text in a page.
"""

import io
import re
from base64 import b64encode
from collections import Counter
from itertools import cycle
from pathlib import Path
from zlib import crc32

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from IPython.core.pylabtools import retina_figure
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from pandas.io.formats.style import Styler
from PIL import Image

HERE = Path(__file__).parent
WIDTH = 7.4  # inches: as wide as the text of a page


def style() -> None:
    """Set the look of all figures: colors that color-blind people tell apart, white ground, sharp on dense screens."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.85)
    mpl.rcParams.update({"figure.dpi": 110, "savefig.dpi": 220, "figure.facecolor": "white", "axes.titleweight": "bold"})
    if get_ipython() is not None:  # in a notebook: PNGs of twice the pixels, shown at the same size
        import matplotlib_inline.backend_inline  # noqa: F401  registers its own way to show figures, so it comes first

        get_ipython().display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> tuple[str, dict]:
    """Return a figure as a PNG in base64, of twice the pixels that it is shown with, and the metadata of the image."""
    png, size = retina_figure(figure, bbox_inches="tight")
    small = io.BytesIO()  # 256 colors look the same and take less than half the bytes
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    # without a height, which would stretch the figure where a page is narrower
    return b64encode(small.getvalue()).decode(), {"width": size["width"], "alt": figure.get_label()}


def panels(height: float, rows: int = 1, columns: int = 1, **options) -> tuple:
    """Return a figure as wide as a page's text, height in inches, and its axes, one or an array; options as for its subplots."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def labeled(figure: Figure, label: str, note: str = "") -> Figure:
    """Return a figure with its label. A note, such as Run.label(), ends the label and stands below the figure in small print."""
    figure.set_label(f"{label} {'; '.join(note.splitlines())}".strip())
    if note:
        figure.supxlabel(note, fontsize=7.5, color="0.35")
    return figure


def plain(text: str) -> str:
    """Return text from outside, such as a file's name, for computed prose: the signs of Markdown and HTML in it mean nothing."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)  # all ASCII punctuation, as CommonMark allows


def table(frame: pd.DataFrame, digits: int = 4) -> Styler:
    """Return a data frame as a table for a page: thousands separated, floats with so many digits, no index.

    The first column and columns of nothing but words stand to the left, all others to the right. Only long texts are broken.
    """
    name = f"{crc32(frame.to_csv().encode()):x}"  # pandas would draw a random one, and a page would never be the same twice
    shown = Styler(frame, uuid=name, cell_ids=False, table_attributes='class="dataframe"')  # a class the themes know
    lengths = frame.map(lambda v: len(v) if isinstance(v, str) else 0).max()
    wide = [f".col{i}" for i, most in enumerate(lengths) if most > 40]
    whole = [f"td.col{i}" for i, most in enumerate(lengths) if most < 25 or not wide]
    wordy = frame.map(lambda v: isinstance(v, str) and v[:1].isalpha()).to_numpy().all(axis=0)
    words = [f".col{i}" for i, found in enumerate(wordy) if found or i == 0]
    rules = {"text-align: left": words, "white-space: nowrap": whole, "min-width: 14em": wide}  # or a phone has a word a line
    styles = [{"selector": ", ".join(columns), "props": props} for props, columns in rules.items() if columns]
    cells = {"selector": "th, td", "props": "text-align: right; white-space: normal; padding: 0.2em 0.6em"}
    return (
        shown.format(thousands=",", precision=digits, na_rep="none", escape="html")
        .hide(axis="index")
        .set_table_styles([cells, *styles])
    )


def calculator(start: dict, cost) -> HTML:
    """Return the calculator of one convolution: plain HTML and JavaScript that work in the page without a kernel.

    It starts with the geometry `start` and its `complexity.Cost`: all that paper and browsers without scripts show.
    """
    shown = {name: f"{value:,}" for name, value in vars(cost).items()} | start
    shown["additions_with_bias"] = f"{cost.additions + cost.bias_additions:,}"
    return HTML(fill("calculator.html", shown))


def fill(page: str, values: dict) -> str:
    """Return a page that lies in hw3, with the value of each [[name]] in its place."""
    return re.sub(r"\[\[(\w+)\]\]", lambda gap: str(values[gap[1]]), (HERE / page).read_text(encoding="utf-8"))


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
        ax.set(title=f"where the {column} are", xlabel=f"share of all {column} (%)", ylabel="", xlim=(0, 1.2 * share.max()))
        told.append(f"of the {column} most, {share.max():.1f}%, are in {rows['layer'][share.idxmax()]}")
    return labeled(figure, f"Two bar charts over the same {len(rows)} layers, shares in percent: {' and '.join(told)}.")


def timing(times: pd.DataFrame, slopes: dict) -> Figure:
    """Draw measured seconds against size, both logarithmic, beside a line of the predicted slope 2 through the last.

    `times` is `complexity.measure(profile)`; `slopes` maps "n" and "C" to `complexity.loglog_slope` of them.
    """
    figure, axes = panels(3.4, 1, 2)
    for ax, (axis, slope) in zip(axes, slopes.items(), strict=True):
        rows = times[times["varied"] == axis]
        size, seconds = rows[axis].to_numpy(float), rows["seconds"].to_numpy()
        ax.loglog(size, 1e3 * seconds, "o", color="C0", label="measured, median")
        fitted = np.exp(slope.intercept) * size**slope.value
        ax.loglog(size, 1e3 * fitted, color="C0", label=f"fitted, slope {slope.value:.2f}")
        ax.loglog(size, 1e3 * seconds[-1] * (size / size[-1]) ** 2, "--", color="C1", label="slope 2, through the last")
        held = "C" if axis == "n" else "n"
        ax.set(title=f"time against {axis} ({held} = {rows[held].iloc[0]})", xlabel=axis, ylabel="milliseconds")
        ax.set_xticks(size, [f"{v:.0f}" for v in size])
        ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.legend()
    told = [f"with {axis} the measured time grows with slope {slope.value:.2f}" for axis, slope in slopes.items()]
    label = f"Milliseconds against size, both logarithmic, beside a line of slope 2 through the last: {', '.join(told)}."
    return labeled(figure, label)


# Chapter 5: PCA by hand


def pca_view(x, mean, axes, rebuilt, lengths) -> Figure:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, as `interactive.pca_space` does."""
    figure, ax = panels(4.4, subplot_kw={"projection": "3d"})
    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = mean + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * reach @ axes[:2]
    ax.add_collection3d(Poly3DCollection([corners], facecolor="0.5", alpha=0.25, label="plane of axes 1 and 2"))
    ax.scatter(*x.T, color="C0", depthshade=False, label="samples")
    for i, ends in enumerate(zip(rebuilt, x, strict=True), 1):
        ax.plot(*np.transpose(ends), color="C0", lw=1.5, label="residuals" if i == 1 else None)
        ax.text(*ends[1], f" {i}", fontsize=8)
    for i, color in enumerate(("C1", "C2", "C4")):
        ends = mean + 2 * lengths[i] * np.array([[-1], [1]]) * axes[i]  # two standard deviations each way
        ax.plot(*ends.T, color=color, lw=3, label=f"axis {i + 1}")
    ax.set(xlabel="x", ylabel="y", zlabel="z")
    ax.set_box_aspect([np.ptp(limits) for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())], zoom=1.25)  # equal scales
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
    """Draw gray faces (n, 48, 48) uint8 in a grid, each under its title; note says what they are."""
    same = Counter(" ".join(title.split()) for title in titles)
    told = ", ".join(f"{title} ({n})" if n > 1 else title for title, n in same.items())
    label = f"A sheet of {len(images)} gray faces in {-(-len(images) // columns)} rows, titled: {told}."
    return tiles(images, columns, label, titles, note, cmap="gray", vmin=0, vmax=255)


def tiles(images, columns: int, label: str, titles=(), note: str = "", **look) -> Figure:
    """Draw pictures of one size in a grid, each under its title if there are any; look as for matplotlib's imshow."""
    rows = -(-len(images) // columns)
    figure, axes = panels((1.18 if len(titles) else 1.04) * WIDTH / columns * rows + 0.3, rows, columns, squeeze=False)
    for ax, image, title in zip(axes.flat, images, [*titles, *[""] * len(images)], strict=False):
        ax.imshow(image, **look)
        ax.set_title(title, fontsize=7.5, fontweight="normal", pad=2)
    for ax in figure.axes:
        ax.axis("off")
    return labeled(figure, label, note)


def architecture(network) -> Figure:
    """Draw a Keras network as a row of boxes: one a convolution, pooling or dense layer, as tall as its maps are wide.

    The number above a box is its channels or units; below stands the side of its maps.
    """
    kinds = {"Conv2D": "C0", "MaxPooling2D": "C1", "Flatten": "C7", "Dense": "C2", "Softmax": "C3"}
    boxes = [(type(x).__name__, tuple(x.output.shape[1:])) for x in network.layers if type(x).__name__ in kinds]
    figure, ax = panels(2.6)
    for x, (kind, shape) in enumerate(boxes):
        side, channels = (shape[0], shape[-1]) if len(shape) == 3 else (0, shape[-1])
        height = side if side else 4 + 4 * np.log2(channels)  # dense layers: the logarithm of their width
        ax.bar(x, height, 0.11 * np.log2(channels) if side else 0.35, -height / 2, color=kinds[kind], edgecolor="0.2", lw=0.8)
        ax.text(x, height / 2 + 1.5, f"{channels:,}", ha="center", fontsize=7.5 if len(boxes) < 20 else 6)
        if side:
            ax.text(x, -height / 2 - 1.5, f"{side}x{side}", ha="center", va="top", fontsize=7)
    names = {k: k for k in kinds} | {"Conv2D": "convolution 3x3", "MaxPooling2D": "max pooling 2x2", "Softmax": "softmax"}
    present = dict.fromkeys(kind for kind, _ in boxes)
    ax.legend(
        [mpl.patches.Patch(color=kinds[k]) for k in present], [names[k].lower() for k in present],
        ncols=len(present), loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=8,
    )  # fmt: skip
    ax.set(ylim=(-34, 34), title=f"{network.name.upper()}: channels or units above, width of the maps below")
    ax.axis("off")
    told = ", ".join(names[kind].lower() + f" {' x '.join(map(str, shape))}" for kind, shape in boxes)
    return labeled(figure, f"The layers of the {network.name.upper()} in a row, with the shape of what they give: {told}.")


EVEN = 1 / 7, "one in seven"


def history_curves(histories: dict, note: str = "", floor=EVEN) -> Figure:
    """Draw loss and accuracy against the epoch: solid on held-out images, dashed in training. Histories as in Run.history.

    floor is an accuracy to compare with, which gets a dotted line, and its name.
    """
    figure, axes = panels(3.5, 1, 2)
    for ax, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for i, (name, history) in enumerate(histories.items()):
            epochs = np.arange(1, len(history["loss"]) + 1)
            look = {"color": f"C{i}", "marker": "o" if len(epochs) < 30 else None, "ms": 3.5, "lw": 1.5}
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
    return labeled(figure, f"Loss, left, and accuracy, right, against the epoch. {'; '.join(told)}.", note)


def confusion_matrices(matrices: dict, names, note: str = "", counts=None, sides=("true", "predicted")) -> Figure:
    """Draw matrices of row shares (7, 7) side by side with seaborn, titled by their keys; names are the classes in order.

    counts maps some of the keys to the whole numbers that stand in the cells instead of the shares. sides say what a row and
    a column are.
    """
    figure, axes = panels((0.62 if len(matrices) > 1 else 0.75) * WIDTH, 1, len(matrices), squeeze=False)
    for ax, (title, shares) in zip(axes.flat, matrices.items(), strict=True):
        whole = (counts or {}).get(title)
        sns.heatmap(
            shares, annot=shares if whole is None else whole, fmt=".2f" if whole is None else "d", vmin=0, vmax=1,
            cmap="Blues", cbar=False, square=True, linewidths=0.5, linecolor="white", annot_kws={"size": 7},
            xticklabels=names, yticklabels=names, ax=ax,
        )  # fmt: skip
        ax.tick_params(labelsize=7.5)
        ax.set(xlabel=sides[1], ylabel=sides[0], title=title)
    told = [f"{title}: {_read_matrix(np.asarray(shares), names)}" for title, shares in matrices.items()]
    return labeled(figure, f"Shares of a row, {sides[0]}, by column, {sides[1]}. {' '.join(told)}", note)


def _read_matrix(shares: np.ndarray, names) -> str:
    """Say what a matrix of row shares shows: best and worst recall and the largest confusion. Rows of absent classes are NaN."""
    known = np.nan_to_num(shares, nan=-1)
    right, wrong = known.diagonal(), np.where(np.eye(len(shares), dtype=bool), -1, known)
    best, worst = right.argmax(), np.where(right < 0, 2, right).argmin()
    true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
    return (
        f"most often right is {names[best]} ({right[best]:.2f}), least often {names[worst]} ({right[worst]:.2f}); "
        f"the largest confusion is {names[true]} taken for {names[taken]} ({wrong[true, taken]:.2f})."
    )


def intervals(
    table: pd.DataFrame, value: str, low: str, high: str, label: str, note: str = "", level: float = 0.95, points=False
) -> Figure:
    """Draw one row of table a line: a dot at its value and a bar over its interval, all shares. The index names the rows.

    The axis is in percent, or, for differences of shares, in points, which label should say.
    """
    percent = f"{100 * level:.4g}%"
    (figure, ax), y = panels(0.27 * len(table) + 0.9), np.arange(len(table))[::-1]
    ax.hlines(y, table[low], table[high], color="C0", lw=4, alpha=0.35)
    ax.plot(table[value], y, "o", color="C0")
    ax.set_yticks(y, table.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, symbol="" if points else "%"))
    ax.axvline(0, color="0.4", lw=1)
    ax.set(xlabel=f"{label}, with its {percent} interval", xlim=(min(0, 1.1 * table[low].min()), None))
    known = table.dropna(subset=[value])
    ends = {"highest": known.iloc[known[value].argmax()], "lowest": known.iloc[known[value].argmin()]}
    write = (lambda share: f"{100 * share:+.1f}") if points else "{:.1%}".format
    told = [f"{end} is {r.name} with {write(r[value])} ({write(r[low])} to {write(r[high])})" for end, r in ends.items()]
    return labeled(figure, f"{label}, {len(table)} rows, each a dot in a bar, its {percent} interval: {'; '.join(told)}.", note)


FEW = 20  # faces: the share of fewer says too little to be drawn


def reliability(found: dict[str, dict], note: str = "") -> Figure:
    """Draw accuracy against confidence, a panel for each key: one line with 95% intervals for each `metrics.calibration` table.

    found maps titles to tables by name. Bins of fewer than FEW faces are left out.
    """
    figure, axes = panels(3.7, 1, len(found), sharey=True, squeeze=False)
    told = []
    for ax, (title, tables) in zip(axes.flat, found.items(), strict=True):
        ax.plot([0, 1], [0, 1], ":", color="0.5", label="as sure as right")
        for (name, table), mark in zip(tables.items(), "osD^v", strict=False):
            shown = table[table["n"] >= FEW]
            spread = np.abs(shown[["low", "high"]].to_numpy().T - shown["accuracy"].to_numpy())
            ax.errorbar(shown["confidence"], shown["accuracy"], spread, marker=mark, ms=4, lw=1.2, capsize=2, label=name)
            far = shown.loc[(shown["accuracy"] - shown["confidence"]).abs().idxmax()]
            where = f"where it is {far['confidence']:.0%} sure and {far['accuracy']:.0%} are right"
            told.append(f"{title}, {name} is farthest from it {where}")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        ax.set(title=title, xlabel="confidence: probability of the prediction", ylim=(0, 1))
    ax.legend(loc="upper left", fontsize=8)
    figure.axes[0].set_ylabel("share of right predictions")
    label = f"Share of right predictions against confidence, beside the line of as sure as right: {'; '.join(told)}."
    return labeled(figure, label, note)


def lines(table: pd.DataFrame, xlabel: str, ylabel: str) -> Figure:
    """Draw each column of table as a line against its index."""
    figure, ax = panels(2.6)
    for name, dashes in zip(table, ("-", "--", ":", "-."), strict=False):
        ax.plot(table.index, table[name], dashes, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    first, last = table.index[[0, -1]]
    told = "; ".join(f"{name} from {table[name].iloc[0]:.2g} to {table[name].iloc[-1]:.2g}" for name in table)
    return labeled(figure, f"{ylabel} against {xlabel}, from {first:.3g} to {last:.3g}: {told}.")


# What the network looks at


def attention(rows: dict, names, bands: dict, note: str = "") -> Figure:
    """Draw maps (7, h, w) of where the network looks, one row of seven for each key, with lines around the bands of a face."""
    figure, grid = panels(1.25 * len(rows) + 0.3, len(rows), len(names), squeeze=False)
    for axes, (kind, maps) in zip(grid, rows.items(), strict=True):
        for ax, picture, name in zip(axes, maps, names, strict=True):
            ax.imshow(picture, cmap="magma", vmin=0, vmax=np.nanquantile(maps, 0.995), extent=(0, 48, 48, 0))
            ax.hlines(sorted({row for ends in bands.values() for row in ends}), 0, 48, color="white", lw=0.6, ls=":")
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=8, fontweight="normal", pad=2)
        axes[0].set_ylabel(kind, fontsize=8)
    label = (
        f"Heat maps of the face, brighter where it counts more, for each of {', '.join(names)}: {' and '.join(rows)}. "
        f"Dotted lines bound the bands {', '.join(bands)}, from top to bottom."
    )
    return labeled(figure, label, note)


def groups(tables: dict, value: str, low: str, high: str, label: str, note: str = "") -> Figure:
    """Draw for each row of the tables, which have the same, one dot a table with a bar over its interval, all shares."""
    first = next(iter(tables.values()))
    (figure, ax), y = panels(0.5 * len(first) + 1.1), np.arange(len(first))[::-1]
    for i, ((name, table), mark) in enumerate(zip(tables.items(), cycle("osD^"), strict=False)):
        at = y + 0.16 * (len(tables) - 1 - 2 * i) / 2
        ax.hlines(at, table[low], table[high], color=f"C{i}", lw=3, alpha=0.4)
        ax.plot(table[value], at, mark, color=f"C{i}", ms=5, label=name)
    ax.set_yticks(y, first.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    ax.set(xlabel=f"{label}, with its 95% interval", xlim=(0, 1))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=len(tables), fontsize=8)
    told = [f"{name}: {', '.join(f'{row} {v:.0%}' for row, v in table[value].items())}" for name, table in tables.items()]
    return labeled(figure, f"{label}, a dot in a bar, its 95% interval, for each. {'; '.join(told)}.", note)


def class_maps(maps: dict, labels, names, pairs, note: str = "") -> Figure:
    """Draw maps (n, 2) of faces side by side, colored by their labels (n,), with a line between the means of each pair (i, j)."""
    (figure, axes), middles = panels(4.2, 1, len(maps)), []
    for ax, (title, points) in zip(axes, maps.items(), strict=True):
        means = np.array([np.median(points[labels == e], 0) if (labels == e).any() else (np.nan,) * 2 for e in range(len(names))])
        for e, (name, mark) in enumerate(zip(names, "os^Dvp*", strict=True)):
            ax.scatter(*points[labels == e].T, s=16, marker=mark, color=f"C{e}", alpha=0.7, lw=0, label=name)
        for i, j in pairs:
            ax.plot(*means[[i, j]].T, color="0.2", lw=1)
        ax.set(xticks=[], yticks=[], title=title)
        middles.append((ax, [(*means[e], names[e]) for e in np.flatnonzero(np.isfinite(means[:, 0]))]))
    handles, told = ax.get_legend_handles_labels()
    figure.legend(handles, told, loc="outside upper center", ncols=len(names), fontsize=7.5, handletextpad=0.1, columnspacing=1)
    for ax, named in middles:
        name_points(ax, named, ABOVE_EACH_OTHER, bbox={"fc": "white", "alpha": 0.8, "lw": 0, "pad": 1})
    marked = ", ".join(f"{names[i]} and {names[j]}" for i, j in pairs)
    label = (
        f"Maps of {len(labels)} faces as points, near where the last hidden layer is alike: {' and '.join(maps)}. "
        f"A name stands at the median of each emotion or above or below it; lines join {marked}."
    )
    return labeled(figure, label, note)


# Where a name may stand, from its point, in points (1/72 inch).
BESIDE = (5, 3), (5, -9), (-5, 3), (-5, -9)
ABOVE_EACH_OTHER = tuple((0, sign * 3.5 * i - 2.5) for i in range(9) for sign in (1, -1))


def name_points(ax, named: list[tuple[float, float, str]], places, taken=(), **look) -> None:
    """Write the name of each (x, y, name) at the first place where it covers the fewest names and taken boxes (in pixels)."""
    ax.figure.draw_without_rendering()  # from here on boxes are known in pixels
    taken = list(taken)
    for x, y, name in named:
        sides = [{"xytext": place, "ha": ("right", "center", "left")[int(np.sign(place[0])) + 1]} for place in places]
        tried = [ax.annotate(name, (x, y), textcoords="offset points", fontsize=7.5, **side, **look) for side in sides]
        boxes = [text.get_window_extent() for text in tried]
        best = min(range(len(tried)), key=lambda i: boxes[i].count_overlaps(taken))
        taken.append(boxes[best])
        for text in tried[:best] + tried[best + 1 :]:
            text.remove()


def pairs_apart(table: pd.DataFrame, note: str = "") -> Figure:
    """Draw the rate of each pair of emotions against the distance of their means; table: pair, distance, rate, claimed (bool)."""
    figure, ax = panels(3.8)
    for claimed, mark, name in ((False, "o", "other pairs"), (True, "D", "pairs of the original's observations 1 to 3")):
        rows = table[table["claimed"] == claimed]
        ax.plot(rows["distance"], rows["rate"], mark, color="C1" if claimed else "C0", label=name)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.set(xlabel="distance of the means, in standard deviations", ylabel="share confused with each other")
    ax.legend()
    points = table[["distance", "rate"]]
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in ax.transData.transform(points)]
    name_points(ax, list(zip(*points[table["claimed"]].T.values, table["pair"][table["claimed"]], strict=True)), BESIDE, taken)
    ends = {"The nearest": table.loc[table["distance"].idxmin()], "the farthest": table.loc[table["distance"].idxmax()]}
    told = "; ".join(f"{what}, {r['pair']} at {r['distance']:.2f}: {r['rate']:.1%}" for what, r in ends.items())
    label = f"The share confused against the distance of their means, {len(table)} pairs of emotions. {told}."
    return labeled(figure, label, note)
