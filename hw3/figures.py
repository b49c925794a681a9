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
from hw3.metrics import N_CLASSES, Interval
from hw3.show import calculator, head, labeled, panels, plain, source, style, table  # noqa: F401

COLORS = show.COLORS
FACES = 6  # of one cell of a confusion matrix
SIDES = "true", "predicted"  # what a row and a column of it are
HOVER = "true %{y}, predicted %{x}:<br>%{customdata[0]} of %{customdata[1]} faces,<br>"
HOVER += "%{customdata[2]}<extra></extra>"
EVEN = 1 / N_CLASSES, "one in seven"  # an accuracy to compare with, and its name
GRID = {"title_standoff": 8, "fixedrange": True}
GRID |= dict.fromkeys(("gridcolor", "zerolinecolor"), "rgba(128,128,128,0.3)")
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
        ax.set_title(title, fontsize=7.5, fontweight="normal", pad=2, color=show.GRAY)
    for ax in figure.axes:
        ax.axis("off")
    return labeled(figure, label, note)


def architecture(network) -> Figure:
    """Draw a Keras network as boxes as tall as its maps are wide, channels above, width below."""
    kinds = {"Conv2D": "C0", "MaxPooling2D": "C1", "Flatten": "C7", "Dense": "C2", "Softmax": "C3"}
    names = {kind: kind.lower() for kind in kinds}
    names |= {"Conv2D": "convolution 3x3", "MaxPooling2D": "max pooling 2x2"}
    shapes = [(type(layer).__name__, tuple(layer.output.shape[1:])) for layer in network.layers]
    boxes = [(kind, shape) for kind, shape in shapes if kind in kinds]
    figure, ax = panels(2.6)
    size = 7.5 if len(boxes) < 20 else 6
    for x, (kind, shape) in enumerate(boxes):
        side, logarithm = shape[0], np.log2(shape[-1])
        height, width, below = side, 0.11 * logarithm, f"{side}x{side}"
        if len(shape) == 1:
            height, width, below = 4 + 4 * logarithm, 0.35, ""
        ax.bar(x, height, width, -height / 2, color=kinds[kind], edgecolor="0.2", lw=0.8)
        ax.text(x, height / 2 + 1.5, f"{shape[-1]:,}", ha="center", fontsize=size)
        ax.text(x, -height / 2 - 1.5, below, ha="center", va="top", fontsize=7)
    patches = [mpl.patches.Patch(color=kinds[k], label=names[k]) for k in dict(boxes)]
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": len(patches)}
    ax.legend(handles=patches, **place, frameon=False, fontsize=8)
    name = network.name.upper()
    ax.set(ylim=(-34, 34), title=f"{name}: channels or units above, width of the maps below")
    ax.axis("off")
    layers = ", ".join(f"{names[kind]} {'x'.join(map(str, shape))}" for kind, shape in boxes)
    label = f"{name}: layers in a row, with the shape of what they give. {layers}."
    return labeled(figure, label)


def training_curves(runs: dict) -> show.Interactive:
    """Draw loss and accuracy of Runs, named by the keys, against the epoch; their labels below.

    The dotted line is the share of the most frequent emotion in all labels of the first run.
    """
    notes = dict.fromkeys(run.label() for run in runs.values())
    parts = next(iter(runs.values())).predictions.values()
    counts = np.bincount(np.concatenate([labels for _, labels, _ in parts]))[:N_CLASSES]
    floor = counts.max() / counts.sum(), "most frequent emotion"
    return history_curves({k: run.history for k, run in runs.items()}, "\n".join(notes), floor)


def history_curves(histories: dict, note: str = "", floor=EVEN) -> show.Interactive:
    """Draw loss and accuracy against the epoch: solid on held-out images, dashed in training.

    histories as in Run.history; floor: an accuracy that gets a dotted line, and its name.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    longest = max(len(history["loss"]) for history in histories.values())
    for row, quantity in enumerate(("loss", "accuracy"), 1):
        for color, (name, history) in zip(cycle(COLORS), histories.items(), strict=False):
            for part, prefix, dash in (("held-out", "val_", "solid"), ("training", "", "dash")):
                y = np.round(history[prefix + quantity], 5).tolist()
                # beside a longer run, the value of an epoch nearby may stand
                epoch = " (epoch %{x})" if len(y) < longest else ""
                hover = f"%{{y}} %{{fullData.name}}, {part}{epoch}<extra></extra>"
                look = {"mode": "lines+markers" if len(y) < 30 else "lines"}
                look |= {"line": {"color": color, "dash": dash, "width": 2}}
                # a click on the group's name hides it in both panels
                look |= {"name": name, "legendgroup": name, "hovertemplate": hover}
                look |= {"showlegend": row == 1 and part == "held-out", "row": row, "col": 1}
                figure.add_scatter(x=list(range(1, len(y) + 1)), y=y, **look)
    values = pd.concat(map(pd.DataFrame, histories.values())).replace(np.inf, np.nan)
    losses = values[["loss", "val_loss"]].to_numpy()
    loss = {"title": "loss", "type": "linear", "tickformat": "~g", "hoverformat": ".3f"}
    if np.nanmax(losses) > 8 * np.nanmin(losses) > 0:
        loss |= {"type": "log", "dtick": "D2"}
    # from 0, or hundredths look large
    accuracy = {"title": "accuracy", "type": "linear", "rangemode": "tozero"}
    accuracy |= {"tickformat": ".0%", "hoverformat": ".1%"}
    figure.update_layout(yaxis=loss, yaxis2=accuracy, xaxis2={"title": "epoch"})
    line = {"color": show.GRAY, "dash": "dot", "width": 1}
    figure.add_hline(floor[0], line=line, name=floor[1], showlegend=True, row=2, col=1)
    # the same range where some runs are hidden
    ends = {"range": [1 - 0.03 * longest, 1.03 * longest], "dtick": 1 if longest < 12 else None}
    figure.update_xaxes(unifiedhovertitle_text="epoch %{x}", **ends, **SPIKE)
    figure.update_xaxes(GRID).update_yaxes(GRID)
    words = {"text": "solid: held-out, dashed: training", "side": "top", "font": {"size": 12}}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "bgcolor": show.NONE}
    figure.update_layout(height=520, margin={"l": 50, "r": 10, "t": 10, "b": 45}, dragmode=False)
    figure.update_layout(legend=legend | {"title": words}, hovermode="x unified")
    figure.update_layout(hoverdistance=min(20, max(1, 300 // longest)))  # pixels: half an epoch
    readings = [
        f"{name}, {len(h['loss'])} epochs: "
        f"held-out loss from {h['val_loss'][0]:.2f} to {h['val_loss'][-1]:.2f}, "
        f"held-out accuracy from {h['val_accuracy'][0]:.1%} to {h['val_accuracy'][-1]:.1%}, "
        f"training accuracy at the end {h['accuracy'][-1]:.1%}"
        for name, h in histories.items()
    ]
    label = f"Loss, above, and accuracy, below, against the epoch. {'; '.join(readings)}."
    return show.Interactive(figure, label, note)


def intervals(rows, value, low, high, label, note="", level=0.95, points=False, ax=None) -> Figure:
    """Draw a line for each row of a data frame: a dot at its value, a bar over its interval.

    value, low and high name columns of shares; points: they are differences, as label should say.
    """
    level, y = f"{100 * level:.4g}%", np.arange(len(rows))[::-1]
    ax = ax or panels(0.27 * len(rows) + 0.9)[1]
    ax.hlines(y, rows[low], rows[high], color="C0", lw=4, alpha=0.35)
    ax.plot(rows[value], y, "o", color="C0")
    ax.set_yticks(y, rows.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, symbol="" if points else "%"))
    ax.axvline(0, color="0.4", lw=1)
    ax.set(xlabel=f"{label}, with its {level} interval", xlim=(min(0, 1.1 * rows[low].min()), None))
    kind, readings = "cell" if points else "short", []
    for end, i in (("highest", rows[value].argmax()), ("lowest", rows[value].argmin())):
        interval = Interval(*rows[[value, low, high]].iloc[i], signed=points)
        readings.append(f"{end}: {rows.index[i]}, {format(interval, kind)}")
    label = f"{label}. {len(rows)} rows, each a dot in a bar, its {level} interval. "
    label += f"{'; '.join(readings)}."
    return labeled(ax.figure, label, note)


def confusion_matrices(matrices: dict, names, note: str = "", sides=SIDES) -> Figure:
    """Draw matrices of row shares (7, 7) of named classes side by side, titled by their keys."""
    height = 0.62 if len(matrices) > 1 else 0.75
    figure, axes = panels(height * show.WIDTH, 1, len(matrices), squeeze=False)
    look = {"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "square": True}
    look |= {"linewidths": 0.5, "annot": True, "fmt": ".2f", "annot_kws": {"size": 7}}
    for ax, (title, shares) in zip(axes.flat, matrices.items(), strict=True):
        sns.heatmap(pd.DataFrame(shares, names, names), ax=ax, **look)
        ax.tick_params(labelsize=7.5)
        ax.set(xlabel=sides[1], ylabel=sides[0], title=title)
    return labeled(figure, _read_matrices(matrices, names, sides), note)


def _read_matrices(matrices: dict, names, sides=SIDES) -> str:
    """Say best and worst recall and the largest mistake; rows of absent classes are NaN."""
    readings = []
    for title, shares in matrices.items():
        right, wrong = shares.diagonal(), np.where(np.eye(len(names)) == 1, -1, shares)
        best, worst = np.nanargmax(right), np.nanargmin(right)
        true, taken = np.unravel_index(np.nanargmax(wrong), wrong.shape)
        readings.append(
            f"{title}: most often right: {names[best]} {right[best]:.2f}; "
            f"least often right: {names[worst]} {right[worst]:.2f}; "
            f"largest other share: {names[true]} → {names[taken]} {wrong[true, taken]:.2f}."
        )
    return f"Shares of a row. Rows: {sides[0]}; columns: {sides[1]}. {' '.join(readings)}"


def confusion_matrix(cells, names, title, note="", whole=False, faces=None) -> show.Interactive:
    """Draw a confusion matrix that tells count, share and interval of a cell that is chosen.

    cells: `metrics.cells`; whole: write counts, not shares; faces: labels (n,), probabilities
    (n, 7) and images (n, 48, 48) uint8 that were counted: below stand a cell's surest FACES.
    """
    size = len(names)
    count, share = (cells[c].to_numpy().reshape(size, size) for c in ("count", "share"))
    told = [
        (f"{k:,}", f"{n:,}", f"{Interval(*interval):short}" if n else "–")
        for k, n, *interval in cells.itertuples(index=False)
    ]
    told = np.reshape(told, (size, size, 3)).tolist()
    look = {"zmin": 0, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1}
    look["hovertemplate"] = HOVER
    # under words of the page's color, in both themes
    look["colorscale"] = [(0, "rgba(1,115,178,0.04)"), (1, "rgba(1,115,178,0.7)")]
    look["texttemplate"] = "%{text:,}" if whole else "%{z:.2f}"
    values = {"z": share.round(4).tolist(), "text": count.tolist(), "customdata": told}
    figure = go.Figure(go.Heatmap(look | values, x=names, y=names))
    axis = {"automargin": True, "fixedrange": True, "showgrid": False}
    figure.update_xaxes(axis, title="predicted")
    figure.update_yaxes(axis, title="true", autorange="reversed")
    figure.update_layout(title={"text": title, "font": {"size": 13}, "x": 0.5})
    figure.update_layout(margin={"l": 10, "r": 10, "t": 40, "b": 10}, height=480, dragmode=False)
    often = (count - np.diag(count.diagonal())).argmax()  # the mistake shown first
    gaps = {"start": list(divmod(int(often), size)), "shown": FACES, "color": COLORS[1]}
    gaps |= {"pictured": int(bool(faces)), "sheet": _face_sheet(size, *faces) if faces else ""}
    label = _read_matrices({title: share}, names)
    return show.Interactive(figure, label, note, show.fill("cell.html", gaps))


def _face_sheet(size: int, labels, probabilities, images) -> str:
    """Return a picture in base64, one row a cell: the faces that the network was surest of."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    cell = (size * labels.astype(int) + probabilities.argmax(1))[order]
    sheet = np.zeros((size * size, FACES, *images.shape[1:]), np.uint8)
    for c, row in enumerate(sheet):
        surest = images[order[cell == c][:FACES]]
        row[: len(surest)] = surest
    picture, file = np.vstack([np.hstack(row) for row in sheet]), io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return b64encode(file.getvalue()).decode()


def layer_costs(layers: pd.DataFrame) -> Figure:
    """Draw which layers of a `complexity.layer_table` hold the parameters and which the work."""
    rows, readings = layers[layers["multiply-adds"] > 0], []
    figure, axes = panels(0.32 * len(rows) + 1, 1, 2, sharey=True)
    for ax, column, color in zip(axes, ("parameters", "multiply-adds"), ("C1", "C0"), strict=True):
        share = 100 * rows[column] / layers[column].sum()
        sns.barplot(x=share, y=rows["layer"], ax=ax, color=color, saturation=1)
        ax.bar_label(ax.containers[0], fmt="%.1f%%", padding=3)
        ax.set(title=f"where the {column} are", xlabel=f"share of all {column} (%)", ylabel="")
        ax.set_xlim(0, 1.2 * share.max())
        layer = rows["layer"][share.idxmax()]
        readings.append(f"{column}: {layer}, {share.max():.1f}%")
    label = f"Two bar charts over the same {len(rows)} layers. Largest shares: "
    label += f"{'; '.join(readings)}."
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
        ax.loglog(size, ms, "o", color="C0", label="measured, median")
        ax.loglog(size, fitted, color="C0", label=f"fitted, slope {slope.value:.2f}")
        predicted = ms[-1] * (size / size[-1]) ** 2
        ax.loglog(size, predicted, "--", color="C1", label="slope 2, through the last")
        title = f"time against {axis} ({held} = {rows[held].iloc[0]})"
        ax.set(title=title, xlabel=axis, ylabel="milliseconds")
        ax.set_xticks(size, [f"{v:.0f}" for v in size])
        ax.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.legend()
    measured = "; ".join(f"{axis}, {slope.value:.2f}" for axis, slope in slopes.items())
    label = (
        "Milliseconds against size, both logarithmic, beside a line of slope 2 through the last."
    )
    return labeled(figure, f"{label} Measured slopes: {measured}.")


def pca_space(x, mean, axes, rebuilt, lengths) -> show.Interactive:
    """Draw samples, principal axes, the plane of the first two, and the residuals to it, in space.

    x, rebuilt: (N, 3) samples and their feet on the plane; mean: (3,); axes: (3, 3), one axis a
    row; lengths: (3,), the standard deviation along each axis, in the units of the samples.
    """
    figure = go.Figure()

    def segments(starts, ends, color: str, width: int, **look) -> None:
        gap = np.full_like(starts, np.nan)  # a line breaks at NaN
        xyz = np.stack([starts, ends, gap], axis=1).reshape(-1, 3)
        line = {"color": color, "width": width}
        figure.add_scatter3d(**_points(xyz), line=line, mode="lines", **look)

    reach = np.abs((rebuilt - mean) @ axes[:2].T).max(axis=0) * 1.1
    corners = mean + np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * reach @ axes[:2]
    triangles = {"i": [0, 0], "j": [1, 2], "k": [2, 3], "color": COLORS[7], "opacity": 0.3}
    plane = {"name": "plane of axes 1 and 2", "showlegend": True, "hoverinfo": "skip"}
    figure.add_mesh3d(**_points(corners), **triangles, **plane)
    look = {"mode": "markers+text", "marker": {"size": 5, "color": COLORS[0]}, "name": "samples"}
    look |= {"text": [str(i + 1) for i in range(len(x))], "textposition": "top center"}
    look["hovertemplate"] = "sample %{text}: (%{x}, %{y}, %{z})<extra></extra>"
    figure.add_scatter3d(**_points(x), **look)
    segments(rebuilt, x, COLORS[0], 4, name="residuals", hoverinfo="skip")
    for i, color in enumerate(COLORS[1:4]):
        ends = 2 * lengths[i] * axes[i : i + 1]  # two standard deviations each way
        segments(mean - ends, mean + ends, color, 7, name=f"axis {i + 1}", hoverinfo="name")
    box = {"backgroundcolor": show.NONE, "gridcolor": "#a0a0a0", "zerolinecolor": "#a0a0a0"}
    camera = {"eye": {"x": 1.1, "y": -1.4, "z": 0.5}, "center": {"x": 0, "y": 0, "z": -0.15}}
    scene = {"xaxis": box, "yaxis": box, "zaxis": box, "aspectmode": "data", "camera": camera}
    modebar = {"bgcolor": show.NONE, "color": show.GRAY, "activecolor": COLORS[1]}
    legend = {"orientation": "h", "y": 0, "yanchor": "top", "bgcolor": show.NONE}
    figure.update_layout(height=460, margin=dict.fromkeys("lrtb", 0), modebar=modebar)
    figure.update_layout(legend=legend, scene=scene)
    cameras = {"Seen from its edge": {"eye": _points(2 * axes[1]), "up": _points(axes[2])}}
    cameras["Seen as at first"] = camera | {"up": {"x": 0, "y": 0, "z": 1}}
    button = "<button type='button' data-camera='{}'>{}</button>"
    buttons = [button.format(json.dumps(place), name) for name, place in cameras.items()]
    far, sizes = np.linalg.norm(x - rebuilt, axis=1), ", ".join(f"{v:.2f}" for v in lengths)
    label = (
        f"The {len(x)} samples in space, the principal axes with standard deviations of {sizes}, "
        f"the plane of the first two, and the residuals to it: the longest, {far.max():.2f}, "
        f"is that of sample {far.argmax() + 1}."
    )
    places = f"<p class='hw3-places no-print'>{' '.join(buttons)}</p>"
    return show.Interactive(figure, label, below=places)


def _points(xyz) -> dict:
    return dict(zip("xyz", np.transpose(xyz), strict=True))
