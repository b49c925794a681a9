"""The figures of the report: each function takes data, and returns the figure that it drew on.

Figures are matplotlib's own, not pyplot's, which a notebook would show twice; those that answer to
pointing are `Interactive`. Each has a label: in words, what it shows, its axes and main reading.
"""

import io
import json
from base64 import b64encode
from collections import Counter
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image
from plotly.subplots import make_subplots

from hw3 import show
from hw3.metrics import Interval
from hw3.show import Interactive, calculator, head, labeled, panels, plain, style, table  # noqa

COLORS = sns.color_palette("colorblind").as_hex()  # those of matplotlib's C0, C1, ... after style()
FACES = 6  # of one cell of a confusion matrix
SIDES = "true", "predicted"  # what a row and a column of it are
EVEN = 1 / 7, "one in seven"  # an accuracy to compare with, and its name
GRID = {"gridcolor": "rgba(128,128,128,0.3)", "zerolinecolor": "rgba(128,128,128,0.3)"}
SPIKE = {"spikecolor": show.GRAY, "spikethickness": 1, "spikedash": "solid"}


def face_sheet(images, titles, columns: int = 8, note: str = "") -> Figure:
    """Draw gray faces (n, 48, 48) uint8 in a grid, each under its title; note says which."""
    counts = Counter(" ".join(title.split()) for title in titles)
    names = ", ".join(f"{title} ({n})" if n > 1 else title for title, n in counts.items())
    rows = -(-len(images) // columns)
    label = f"A sheet of {len(images)} gray faces in {rows} rows, titled: {names}."
    return tiles(images, columns, label, titles, note, cmap="gray", vmin=0, vmax=255)


def tiles(images, columns: int, label: str, titles=(), note: str = "", **look) -> Figure:
    """Draw pictures of one size in a grid, each under its title if any; look as for imshow."""
    rows, height = -(-len(images) // columns), 1.18 if len(titles) else 1.04
    figure, axes = panels(height * show.WIDTH / columns * rows + 0.3, rows, columns, squeeze=False)
    for ax, image, title in zip(axes.flat, images, [*titles, *[""] * len(images)], strict=False):
        ax.imshow(image, **look)
        ax.set_title(title, fontsize=7.5, fontweight="normal", pad=2)
    for ax in figure.axes:
        ax.axis("off")
    return labeled(figure, label, note)


def architecture(network) -> Figure:
    """Draw a Keras network as a row of boxes: one a convolution, pooling or dense layer.

    A box is as tall as its maps are wide; above stand its channels or units, below that width.
    """
    kinds = {"Conv2D": "C0", "MaxPooling2D": "C1", "Flatten": "C7", "Dense": "C2", "Softmax": "C3"}
    names = {kind: kind.lower() for kind in kinds}
    names |= {"Conv2D": "convolution 3x3", "MaxPooling2D": "max pooling 2x2"}
    layers = [(type(layer).__name__, layer) for layer in network.layers]
    boxes = [(kind, tuple(x.output.shape[1:])) for kind, x in layers if kind in kinds]
    figure, ax = panels(2.6)
    size = 7.5 if len(boxes) < 20 else 6
    for x, (kind, shape) in enumerate(boxes):
        logarithm, (side, *_) = np.log2(shape[-1]), shape
        height, width, below = side, 0.11 * logarithm, f"{side}x{side}"
        if len(shape) == 1:
            height, width, below = 4 + 4 * logarithm, 0.35, ""
        ax.bar(x, height, width, -height / 2, color=kinds[kind], edgecolor="0.2", lw=0.8)
        ax.text(x, height / 2 + 1.5, f"{shape[-1]:,}", ha="center", fontsize=size)
        ax.text(x, -height / 2 - 1.5, below, ha="center", va="top", fontsize=7)
    present, name = dict.fromkeys(kind for kind, _ in boxes), network.name.upper()
    patches = [mpl.patches.Patch(color=kinds[k], label=names[k]) for k in present]
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": len(present)}
    ax.legend(handles=patches, **place, frameon=False, fontsize=8)
    title = f"{name}: channels or units above, width of the maps below"
    ax.set(ylim=(-34, 34), title=title)
    ax.axis("off")
    told = ", ".join(f"{names[kind]} {' x '.join(map(str, shape))}" for kind, shape in boxes)
    label = f"The layers of the {name} in a row, with the shape of what they give: {told}."
    return labeled(figure, label)


def training_curves(runs: dict) -> Interactive:
    """Draw loss and accuracy of Runs, named by the keys, against the epoch; their labels below.

    A dotted line is what always answering the most frequent emotion has right of all labeled images
    that the first run predicted.
    """
    notes = dict.fromkeys(run.label() for run in runs.values())
    parts = next(iter(runs.values())).predictions.values()
    counts = sum(np.bincount(labels, minlength=256) for _, labels, _ in parts)[:7]
    floor = counts.max() / counts.sum(), "most frequent emotion"
    histories = {name: run.history for name, run in runs.items()}
    return history_curves(histories, "\n".join(notes), floor)


def history_curves(histories: dict, note: str = "", floor=EVEN) -> Interactive:
    """Draw loss and accuracy against the epoch: solid on held-out images, dashed in training.

    histories as in Run.history; floor: an accuracy that gets a dotted line, and its name.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    longest = max(len(history["loss"]) for history in histories.values())
    for row, quantity in enumerate(("loss", "accuracy"), 1):
        for color, (name, history) in zip(cycle(COLORS), histories.items(), strict=False):
            for part, key in (("held-out", f"val_{quantity}"), ("training", quantity)):
                values = np.round(history[key], 5).tolist()
                # beside a longer run, that of an epoch nearby may be told
                epoch = " (epoch %{x})" if len(values) < longest else ""
                dash = "solid" if part == "held-out" else "dash"
                look = {"mode": "lines+markers" if len(values) < 30 else "lines"}
                look |= {"line": {"color": color, "dash": dash, "width": 2}}
                look |= {"hovertemplate": f"%{{y}} {name}, {part}{epoch}<extra></extra>"}
                look |= {"name": name, "legendgroup": name}  # a click hides it in both panels
                first = row == 1 and part == "held-out"
                x = list(range(1, len(values) + 1))
                figure.add_scatter(**look, x=x, y=values, showlegend=first, row=row, col=1)
    losses = _values(histories, "loss")
    loss = {"title": "loss", "type": "linear", "tickformat": "~g", "hoverformat": ".3f"}
    if losses.max() > 8 * losses.min() > 0:
        loss |= {"type": "log", "dtick": "D2"}
    # from 0, or hundredths look large
    accuracy = {"title": "accuracy", "type": "linear", "rangemode": "tozero"}
    accuracy |= {"tickformat": ".0%", "hoverformat": ".1%"}
    figure.update_layout(yaxis=loss, yaxis2=accuracy, xaxis2={"title": "epoch"})
    # the name of the line stands on the side where fewer curves run, but for their ends
    near = _values(histories, "accuracy", slice(longest // 4, 3 * longest // 4)) - floor[0]
    near = near[abs(near) < 0.08]
    side = "top" if (near > 0).sum() > len(near) / 2 else "bottom"
    words = {"text": floor[1], "x": 0.5, "xanchor": "center", "yanchor": side}
    line = {"color": show.GRAY, "dash": "dot", "width": 1}
    figure.add_hline(floor[0], line=line, annotation=words, row=2, col=1)
    # the same range where some runs are hidden
    ends = {"range": [1 - 0.03 * longest, 1.03 * longest], "dtick": 1 if longest < 12 else None}
    figure.update_xaxes(unifiedhovertitle_text="epoch %{x}", **ends, **SPIKE)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(title_standoff=8, fixedrange=True, **GRID)
    words = {"text": "solid: held-out, dashed: training", "side": "top", "font": {"size": 12}}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "bgcolor": show.NONE}
    figure.update_layout(height=520, margin={"l": 50, "r": 10, "t": 10, "b": 45}, dragmode=False)
    figure.update_layout(legend=legend | {"title": words}, hovermode="x unified")
    figure.update_layout(hoverdistance=min(20, max(1, 300 // longest)))  # pixels: half an epoch
    told = [
        f"{name}, {len(h['loss'])} epochs: "
        f"held-out loss from {h['val_loss'][0]:.2f} to {h['val_loss'][-1]:.2f}, "
        f"held-out accuracy from {h['val_accuracy'][0]:.1%} to {h['val_accuracy'][-1]:.1%}, "
        f"training accuracy at the end {h['accuracy'][-1]:.1%}"
        for name, h in histories.items()
    ]
    label = f"Loss, left, and accuracy, right, against the epoch. {'; '.join(told)}."
    return Interactive(figure, label, note)


def _values(histories: dict, quantity: str, epochs: slice = slice(None)) -> np.ndarray:
    """Return the finite values of all curves of a quantity, training and held-out, in a row."""
    keys = quantity, f"val_{quantity}"
    values = np.concatenate([h[key][epochs] for h in histories.values() for key in keys])
    return values[np.isfinite(values)]


def lines(frame: pd.DataFrame, xlabel: str, ylabel: str, ax=None) -> Figure:
    """Draw each column of a data frame as a line against its index."""
    ax, ends = ax or panels(2.6)[1], frame.iloc[[0, -1]]
    for name, dashes in zip(frame, ("-", "--", ":", "-."), strict=False):
        ax.plot(frame.index, frame[name], dashes, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    first, last = ends.index
    told = "; ".join(f"{name} from {a:.2g} to {b:.2g}" for name, (a, b) in ends.items())
    label = f"{ylabel} against {xlabel}, from {first:.3g} to {last:.3g}: {told}."
    return labeled(ax.figure, label)


def intervals(
    rows, value: str, low: str, high: str, label: str, note="", level=0.95, points=False, ax=None
) -> Figure:
    """Draw a line for each row, named by the index: a dot at its value, a bar over its interval.

    All are shares; the axis is in percent, or, for differences, in points, which label should say.
    """
    percent, y = f"{100 * level:.4g}%", np.arange(len(rows))[::-1]
    ax = ax or panels(0.27 * len(rows) + 0.9)[1]
    ax.hlines(y, rows[low], rows[high], color="C0", lw=4, alpha=0.35)
    ax.plot(rows[value], y, "o", color="C0")
    ax.set_yticks(y, rows.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, symbol="" if points else "%"))
    ax.axvline(0, color="0.4", lw=1)
    start = min(0, 1.1 * rows[low].min())
    ax.set(xlabel=f"{label}, with its {percent} interval", xlim=(start, None))

    values = rows[value]
    ends = {"highest": rows.iloc[values.argmax()], "lowest": rows.iloc[values.argmin()]}
    kind = "cell" if points else "short"
    told = "; ".join(
        f"{end} is {r.name} with {format(Interval(r[value], r[low], r[high], signed=points), kind)}"
        for end, r in ends.items()
    )
    label = f"{label}, {len(rows)} rows, each a dot in a bar, its {percent} interval: {told}."
    return labeled(ax.figure, label, note)


def confusion_matrices(matrices: dict, names, note: str = "", sides=SIDES) -> Figure:
    """Draw matrices of row shares (7, 7) side by side, titled by their keys.

    names are the classes in order; sides say what a row and a column are.
    """
    height = 0.62 if len(matrices) > 1 else 0.75
    figure, axes = panels(height * show.WIDTH, 1, len(matrices), squeeze=False)
    look = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "square": True}
    look |= {"linewidths": 0.5, "linecolor": "white", "xticklabels": names, "yticklabels": names}
    look |= {"annot": True, "fmt": ".2f", "annot_kws": {"size": 7}}
    for ax, (title, shares) in zip(axes.flat, matrices.items(), strict=True):
        sns.heatmap(shares, ax=ax, **look)
        ax.tick_params(labelsize=7.5)
        ax.set(xlabel=sides[1], ylabel=sides[0], title=title)
    return labeled(figure, _read_matrices(matrices, names, sides), note)


def _read_matrices(matrices: dict, names, sides=SIDES) -> str:
    told = [f"{title}: {_read_matrix(np.asarray(m), names)}" for title, m in matrices.items()]
    return f"Shares of a row, {sides[0]}, by column, {sides[1]}. {' '.join(told)}"


def _read_matrix(shares: np.ndarray, names) -> str:
    """Say best and worst recall and the largest confusion; rows of absent classes are NaN."""
    known = np.nan_to_num(shares, nan=-1)
    right, wrong = known.diagonal(), np.where(np.eye(len(shares), dtype=bool), -1, known)
    best, worst = right.argmax(), np.where(right < 0, 2, right).argmin()
    true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
    return (
        f"most often right is {names[best]} ({right[best]:.2f}), "
        f"least often {names[worst]} ({right[worst]:.2f}); the largest confusion is "
        f"{names[true]} taken for {names[taken]} ({wrong[true, taken]:.2f})."
    )


def confusion_matrix(
    cells: pd.DataFrame, names, title: str, note: str = "", whole: bool = False, faces=None
) -> Interactive:
    """Draw a confusion matrix that tells count, share and interval of a cell that is chosen.

    cells is `metrics.cells` of the counts; whole writes counts instead of shares. faces (labels
    (n,), probabilities (n, 7), images (n, 48, 48) uint8) are those that were counted: below stand
    the FACES of the cell that the network was surest of.
    """
    size = len(names)
    count, share = (cells[c].to_numpy().reshape(size, size) for c in ("count", "share"))
    words = []
    for (i, j), c in zip(np.ndindex(size, size), cells.itertuples(), strict=True):
        interval = Interval(c.share, c.low, c.high)
        of = f"{c.count:,} of {c.n:,} faces,<br>{interval:short}" if c.n else "no faces"
        words.append(f"true {names[i]}, predicted {names[j]}:<br>{of}")
    words = np.reshape(words, (size, size)).tolist()
    look = {"zmin": 0, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1, "hoverinfo": "text"}
    # under words of the page's color, in both themes
    look["colorscale"] = [(0, "rgba(1,115,178,0.04)"), (1, "rgba(1,115,178,0.7)")]
    look["texttemplate"] = "%{text:,}" if whole else "%{z:.2f}"
    values = {"z": share.round(4).tolist(), "text": count.tolist(), "hovertext": words}
    figure = go.Figure(go.Heatmap(look | values, x=names, y=names))
    axis = {"automargin": True, "fixedrange": True, "showgrid": False}
    axes = {"xaxis": axis | {"title": "predicted"}}
    axes["yaxis"] = axis | {"title": "true", "autorange": "reversed"}
    heading = {"text": title, "font": {"size": 13}, "x": 0.5}
    margin = {"l": 10, "r": 10, "t": 40, "b": 10}
    figure.update_layout(axes, title=heading, height=480, margin=margin, dragmode=False)
    often = (count - np.diag(count.diagonal())).argmax()  # the mistake shown first
    gaps = {"start": list(divmod(int(often), size)), "shown": FACES, "color": COLORS[1]}
    gaps |= {"pictured": int(bool(faces)), "sheet": _face_sheet(size, *faces) if faces else ""}
    label = _read_matrices({title: share}, names)
    return Interactive(figure, label, note, show.fill("cell.html", gaps))


def _face_sheet(size: int, labels, probabilities, images) -> str:
    """Return a picture in base64, one row a cell: the faces that the network was surest of."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    cell = (size * labels.astype(int) + probabilities.argmax(1))[order]
    sheet = np.zeros((size * size, FACES, *images.shape[1:]), np.uint8)
    for c, row in enumerate(sheet):
        surest = images[order[cell == c][:FACES]]
        row[: len(surest)] = surest
    picture, file = sheet.swapaxes(1, 2).reshape(size * size * images.shape[1], -1), io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return b64encode(file.getvalue()).decode()


def layer_costs(layers: pd.DataFrame) -> Figure:
    """Draw which layers of a `complexity.layer_table` hold the parameters and which the work."""
    rows, told = layers[layers["multiply-adds"] > 0], []
    figure, axes = panels(0.32 * len(rows) + 1, 1, 2, sharey=True)
    for ax, column, color in zip(axes, ("parameters", "multiply-adds"), ("C1", "C0"), strict=True):
        share = 100 * rows[column] / layers[column].sum()
        sns.barplot(x=share, y=rows["layer"], ax=ax, color=color, saturation=1)
        ax.bar_label(ax.containers[0], fmt="%.1f%%", padding=3)
        ax.set(title=f"where the {column} are", xlabel=f"share of all {column} (%)", ylabel="")
        ax.set_xlim(0, 1.2 * share.max())
        most = rows["layer"][share.idxmax()]
        told.append(f"of the {column} most, {share.max():.1f}%, are in {most}")
    told = " and ".join(told)
    label = f"Two bar charts over the same {len(rows)} layers, shares in percent: {told}."
    return labeled(figure, label)


def timing(times: pd.DataFrame, slopes: dict) -> Figure:
    """Draw measured seconds against size, both logarithmic, beside a line of the predicted slope 2.

    times is `complexity.measure(profile)`; slopes are its `complexity.loglog_slope` in "n" and "C".
    """
    figure, axes = panels(3.4, 1, 2)
    for ax, (axis, slope) in zip(axes, slopes.items(), strict=True):
        rows, held = times[times["varied"] == axis], "C" if axis == "n" else "n"
        size, ms = rows[axis].to_numpy(float), 1e3 * rows["seconds"].to_numpy()
        fitted = 1e3 * np.exp(slope.intercept) * size**slope.value
        predicted = ms[-1] * (size / size[-1]) ** 2
        ax.loglog(size, ms, "o", color="C0", label="measured, median")
        ax.loglog(size, fitted, color="C0", label=f"fitted, slope {slope.value:.2f}")
        ax.loglog(size, predicted, "--", color="C1", label="slope 2, through the last")
        title = f"time against {axis} ({held} = {rows[held].iloc[0]})"
        ax.set(title=title, xlabel=axis, ylabel="milliseconds")
        ax.set_xticks(size, [f"{v:.0f}" for v in size])
        ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.legend()
    told = [f"with {a} the measured time grows with slope {s.value:.2f}" for a, s in slopes.items()]
    label = (
        "Milliseconds against size, both logarithmic, beside a line of slope 2 through the last: "
        f"{', '.join(told)}."
    )
    return labeled(figure, label)


def pca_space(x, mean, axes, rebuilt, lengths) -> Interactive:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, in space.

    x, rebuilt: (N, 3) samples and their feet on the plane; mean: (3,); axes: (3, 3), one axis a
    row; lengths: (3,), the standard deviation along each axis, in the units of the samples.
    """
    figure = go.Figure()

    def segments(starts, ends, color: str, width: int, name: str, hoverinfo: str) -> None:
        gap = np.full_like(starts, np.nan)  # a line breaks at NaN
        xyz = np.stack([starts, ends, gap], axis=1).reshape(-1, 3)
        look = {"line": {"color": color, "width": width}, "name": name, "hoverinfo": hoverinfo}
        figure.add_scatter3d(**_points(xyz), **look, mode="lines")

    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = mean + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * reach @ axes[:2]
    triangles = {"i": [0, 0], "j": [1, 2], "k": [2, 3], "color": COLORS[7], "opacity": 0.3}
    plane = {"name": "plane of axes 1 and 2", "showlegend": True, "hoverinfo": "skip"}
    figure.add_mesh3d(**_points(corners), **triangles, **plane)
    look = {"mode": "markers+text", "marker": {"size": 5, "color": COLORS[0]}}
    look |= {"text": [str(i + 1) for i in range(len(x))], "textposition": "top center"}
    hover = "sample %{text}: (%{x}, %{y}, %{z})<extra></extra>"
    figure.add_scatter3d(**_points(x), **look, name="samples", hovertemplate=hover)
    segments(rebuilt, x, COLORS[0], 4, "residuals", "skip")
    for i, color in enumerate((COLORS[1], COLORS[2], COLORS[4])):
        ends = 2 * lengths[i] * axes[i : i + 1]  # two standard deviations each way
        segments(mean - ends, mean + ends, color, 7, f"axis {i + 1}", "name")
    box = {"backgroundcolor": show.NONE, "gridcolor": "#a0a0a0", "zerolinecolor": "#a0a0a0"}
    camera = {"eye": {"x": 1.1, "y": -1.4, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.15}}
    scene = {"xaxis": box, "yaxis": box, "zaxis": box, "aspectmode": "data", "camera": camera}
    buttons = {"bgcolor": show.NONE, "color": show.GRAY, "activecolor": COLORS[1]}
    legend = {"orientation": "h", "y": 0, "yanchor": "top", "bgcolor": show.NONE}
    figure.update_layout(height=460, margin=dict.fromkeys("lrtb", 0), modebar=buttons)
    figure.update_layout(legend=legend, scene=scene)
    eye, up = (dict(zip("xyz", v, strict=True)) for v in (2 * axes[1], axes[2]))
    cameras = {"Seen from its edge": {"eye": eye, "up": up}}
    cameras["Seen as at first"] = camera | {"up": {"x": 0, "y": 0, "z": 1}}
    buttons = [
        f"<button type='button' data-camera='{json.dumps(place)}'>{name}</button>"
        for name, place in cameras.items()
    ]
    far, told = np.linalg.norm(x - rebuilt, axis=1), ", ".join(f"{v:.2f}" for v in lengths)
    label = (
        f"The {len(x)} samples in space, the principal axes with standard deviations of {told}, "
        f"the plane of the first two, and the residuals to it: the longest, {far.max():.2f}, "
        f"is that of sample {far.argmax() + 1}."
    )
    below = f"<p class='hw3-places no-print'>{' '.join(buttons)}</p>"
    return Interactive(figure, label, below=below)


def _points(xyz) -> dict:
    return dict(zip("xyz", np.transpose(xyz), strict=True))
