"""The exercises that end the chapters: each changes a line that is there, and its solution is true.

Cells of the chapter run twice, as they are and with the line changed as the exercise says. Where a
test fails, somebody rewrites the exercise.
"""

import re
from functools import cache
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from beyond import bench, claims
from hw3 import faces, metrics, runs, weights
from hw3.disk import ROOT
from hw3.sources import drawn
from press import chapters


def cells(chapter):
    return nbformat.read(ROOT / "book" / f"{chapter}.ipynb", as_version=4).cells


def exercises(chapter):
    """Return the question and the solution of each exercise of a chapter."""
    (text,) = (c.source for c in cells(chapter) if c.source.startswith("## Exercises"))
    folded = r"^(\*\*\d\..*?)\n\n```{dropdown} Solution\n(.*?)\n```$"
    found = re.findall(folded, text, re.DOTALL | re.MULTILINE)
    return [tuple(" ".join(part.split()) for part in both) for both in found]


def change(question):
    """Return the text to change that a question names, and what stands in its place."""
    if two := re.search(r"[Cc]hange `([^`]+)` to `([^`]+)`", question):
        return two.groups()
    new, old = re.search(r"add the line `([^`]+)` below `([^`]+)`", question).groups()
    return old, f"{old}\n{new}"


@cache
def run(chapter, ids, old="", new=""):
    """Return the names that cells of a chapter leave, with a text in them changed."""
    names = {"PROFILE": "quick", "DATA": None, "FRESH": False}
    sources = {cell.id: cell.source for cell in cells(chapter)}
    if chapter == "try":  # whose networks come from a training that plays no part here
        small = {name: weights.load_small(name == "drawn")[0] for name in ("drawn", "recorded")}
        names |= {"networks": small, "recorded_drawn": runs.recorded("drawn-cnn")[0]}
    for name in ids.split():
        exec(sources[name].replace(old, new) if old else sources[name], names)
    return SimpleNamespace(**names)


WITHOUT = ("index", "references")


@pytest.mark.parametrize("chapter", [n for n in chapters.ORDER if n not in WITHOUT])
def test_a_chapter_ends_with_two_short_exercises_whose_line_is_there_once(chapter):
    last = [c for c in cells(chapter) if "head" not in c.metadata.get("tags", ())][-1]
    assert last.source.startswith("## Exercises\n")
    code = "\n".join(c.source for c in cells(chapter) if c.cell_type == "code")
    assert len(exercises(chapter)) == 2
    for number, (question, solution) in enumerate(exercises(chapter), 1):
        assert question.startswith(f"**{number}. ")
        assert len(f"{question} {solution}".split()) <= 85
        assert code.count(change(question)[0]) == 1


def mild(before, after):
    assert (before.recorded.recipe.name, after.recorded.recipe.name) == ("modern", "mild")
    assert after.excess.value > 3 * before.excess.value, "several times as large"
    assert after.excess.low > before.excess.high
    assert after.excess.high > after.original_excess.low, "nearly that of the original's recipe"
    both = [names.recorded.predicted(claims.NEW) for names in (before, after)]
    apart = metrics.difference(both[0][0], both[0][1], both[1][1])
    assert apart.lies() == "not distinguishable"
    less = ("rotation", "shift", "contrast", "brightness")
    recipes = [vars(names.recorded.recipe) for names in (before, after)]
    assert all(recipes[1][what] < recipes[0][what] for what in less), "distorts less"


def smoothing(before, after):
    at_end = before.recorded.history["val_loss"][-1]
    assert float(before.least_loss) < at_end < float(after.least_loss)


def another_seed(before, after):
    labels, by = before.residual.predicted("PrivateTest")
    happy = np.mean(labels == faces.HAPPY)
    assert before.dnn_accuracy.lies(happy) == "above"
    assert after.dnn_accuracy.lies(happy) == "not distinguishable", "always answering Happy"
    moved = metrics.difference(labels, by, after.residual.predicted("PrivateTest")[1])
    assert moved.lies() == "not distinguishable", "hardly moves"
    assert before.dnn_accuracy.low - after.dnn_accuracy.high > 0.1, "far larger"
    for several in before.seeds.values():
        assert several[-1].hits("PublicTest") == min(run.hits("PublicTest") for run in several)


def known_pictures(before, after):
    gaps = [metrics.unpaired(*names.gaps["residual"]) for names in (before, after)]
    assert gaps[1].high < gaps[0].low, "shrinks clearly"
    assert gaps[1].low > 0, "a part of the overfitting"


def counted(before, after):
    assert (before.COUNTS, after.COUNTS) == (False, True)
    by_count = before.matrix[faces.HAPPY, faces.NEUTRAL], before.matrix[faces.DISGUST, faces.ANGRY]
    assert by_count[0] > 3 * by_count[1], "several times over"
    of_each = before.matrix[[faces.HAPPY, faces.DISGUST]].sum(1)
    assert by_count[0] / of_each[0] < by_count[1] / of_each[1], "by shares the first"


def dense(before, after):
    assert after.accuracy.high < before.accuracy.low - 0.1, "much less often"
    first = [names.pairs["pair"].head(3).tolist() for names in (before, after)]
    assert first[0] == first[1]
    assert before.judged["verdict"].tolist() == after.judged["verdict"].tolist()


def smaller_steps(before, after):
    for layer, was in before.counted.items():
        now = after.counted[layer]
        assert now["parameters"] == was["parameters"]
        assert now["multiplications"] > was["multiplications"]
        assert now["additions"] > was["additions"]
    grown = [
        after.counted[n]["multiplications"] / before.counted[n]["multiplications"] for n in "AB"
    ]
    assert grown[0] == pytest.approx(49 / 9)
    assert grown[1] > grown[0], "in B the more"


def larger_kernels(before, after):
    small, large = (names.complexity.convolution_cost(**names.start) for names in (before, after))
    assert large.multiplications * 9 == small.multiplications * 25
    assert 2 * small.multiplications * 25 == large.multiplications * 18
    assert large.size == small.size
    assert large.parameters / small.parameters == pytest.approx(25 / 9, rel=0.01)


def one_dimension(before, after):
    assert np.mean(before.errors**2) == pytest.approx(before.eigenvalues[2])
    assert np.mean(after.errors**2) == pytest.approx(after.eigenvalues[1:].sum())


def another_unit(before, after):
    assert np.abs(before.axes[0, 0]) < 0.7
    assert after.axes[0, 0] > 0.999, "almost exactly along the first dimension"
    assert after.eigenvalues[0] > 0.98 * after.eigenvalues.sum()


def identical_only(before, after):
    assert after.as_it_stands.high < before.as_it_stands.low
    assert after.same_mix.value < before.same_mix.value / 2
    assert after.leaked.sum() < before.leaked.sum() / 2


def half_held_out(before, after):
    assert pytest.approx(before.training.sum() / 2, rel=0.001) == 5 * before.original.HELD_OUT
    for name in ("split_same", "split_alike"):
        was, now = (float(vars(names)[name].rstrip("%")) for names in (before, after))
        assert 1 < now < was


def weaker_members(before, after):
    assert [len(names.members) for names in (before, after)] == [9, 12]
    true, nine, twelve = before.true, before.together["mean"], after.together["mean"]
    assert metrics.difference(true, nine, twelve).lies() == "not distinguishable"
    changed = nine != twelve
    assert changed.mean() < 0.05, "few answers"
    hits = (nine == true)[changed].sum(), (twelve == true)[changed].sum()
    assert hits[1] == pytest.approx(hits[0], rel=0.2), "about as often as before"
    weak = [metrics.accuracy(run, "PrivateTest").high for run in after.members[9:]]
    strong = [metrics.accuracy(run, "PrivateTest").low for run in before.members]
    assert max(weak) < min(strong) - 0.1, "each far weaker"


def chosen_by_the_judge(before, after):
    for was, now in zip(before.table, after.table, strict=True):
        assert -0.05 < float(was[3]) - float(now[3]) < 0.5, "by little"


def label_takes_part(before, after):
    cnn, label = (names.network for names in (before, after))
    lead = before.votes.ratio(cnn[0] - label[0], cnn[1], signed=True)
    assert lead.low > 0.03, "the CNN, clearly"


def weaker_network(before, after):
    assert after.run.network == "dnn"
    sides = [names.sides["the prediction"] for names in (before, after)]
    assert before.wrong < after.wrong, "the CNN makes fewer"
    assert sides[0] > sides[1], "and more of them are doubtful labels"
    assert after.backed.high < before.backed.low - 0.1, "a far smaller share"
    assert after.backed.high < 0.5, "most are mistakes to people, too"


def no_correction(before, after):
    was, now = before.judged.set_index("text"), after.judged.set_index("text")
    changed = was.index[was["verdict"] != now["verdict"]]
    assert changed.tolist() == ["Fear has the lowest accuracy"]
    assert was["verdict"][changed[0]] == "undecided"
    assert now["verdict"][changed[0]] == "holds"


def no_margin(before, after):
    was, now = (names.judged.set_index("text")["verdict"] for names in (before, after))
    two = ["The DNN overfitted, in its own log", "Such a DNN overfits when it is trained again"]
    assert was[two].tolist() == ["does not hold"] * 2
    assert now[two].tolist() == ["undecided"] * 2
    assert was.drop(two).equals(now.drop(two))


def without_happy(before, after):
    def costs_more(first, second):
        views = after.covered[second], after.covered[first]
        of_each = [metrics.difference(after.labels[e], *(v[e] for v in views)) for e in after.each]
        return after.inside.total(of_each, 1 / len(of_each))

    assert [len(names.each) for names in (before, after)] == [7, 6]
    assert all(costs_more("eyes", other).low > 0.03 for other in ("nose", "mouth"))
    assert costs_more("mouth", "nose").value < 0, "no more than the nose"
    costs = [float(row[2].partition(" ")[0]) for row in before.rows]
    assert max(costs) == costs[2], "the mouth seems to matter most"


def fewer_pairs(before, after):
    assert [len(names.table) for names in (before, after)] == [21, 16]
    assert float(before.rank) < float(after.rank) < -0.8, "strongly negative"


def compiling(before, after):
    seconds = [[float(row[1]) for row in names.rows] for names in (before, after)]
    assert max(seconds[0]) < 60
    assert [row[0] for row in after.rows if float(row[1]) >= 60] == [0], "all but that of seed 0"
    longest = max(before.rows, key=lambda row: float(row[2]))
    assert longest[0] == 0


def higher_goal(before, after):
    was, now = (names.trainings.set_index("run") for names in (before, after))
    assert was["runs at 69%"]["fast-cnn"] > 0 == now["runs at 69%"]["fast-cnn"]
    assert now["runs at 69%"]["modern-cnn"] == now["runs"]["modern-cnn"] == 5
    ends = [run.final["val_accuracy"] for run in before.fast]
    assert np.abs(np.array(ends) - 0.69).max() < 0.01, "just about its goal"


def says(names):
    """Return what the network says at each step of a fading expression, from full to none."""
    return [faces.EMOTIONS[p.argmax()] for p in names.shares]


def smaller_expression(before, after):
    assert np.allclose(before.steps * 7, range(7, -1, -1))
    assert says(before) == ["Fear"] * 7 + ["Neutral"], "one seventh is enough"
    assert says(after) == ["Angry"] * 5 + ["Neutral"] * 3, "more than two sevenths"
    units = [drawn.EXPRESSIONS[names.full] for names in (before, after)]
    assert list(map(len, units)) == [7, 4]


def photographs(before, after):
    assert "Fear" not in says(after)
    assert (says(after)[0], says(after)[-1]) == ("Surprise", "Neutral")
    surprise, fear = (drawn.EXPRESSIONS[faces.EMOTIONS.index(n)] for n in ("Surprise", "Fear"))
    assert len(surprise) == 4
    assert set(surprise) < set(fear)
    (run,) = runs.recorded(runs.SHOWN_CNN)[:1]
    assert run.data == "FER2013", "never saw a drawing"


# chapter, number of the exercise, the cells that matter, what its solution says
CASES = [
    ("cnn", 1, "setup overfit-values", mild),
    ("cnn", 2, "setup curves-values", smoothing),
    ("dnn", 1, "setup answer-values", another_seed),
    ("dnn", 2, "setup gaps", known_pictures),
    ("confusion", 1, "setup answer-values", counted),
    ("confusion", 2, "setup answer-values claims", dense),
    ("complexity", 1, "setup keras-model count", smaller_steps),
    ("complexity", 2, "setup calculator", larger_kernels),
    ("pca", 1, "setup reconstruct", one_dimension),
    ("pca", 2, "setup", another_unit),
    ("audit", 1, "setup answer-values", identical_only),
    ("audit", 2, "setup identical-values split-values", half_held_out),
    ("results", 1, "setup answer-values", weaker_members),
    ("results", 2, "setup calibration", chosen_by_the_judge),
    ("humans", 1, "setup answer-values", label_takes_part),
    ("humans", 2, "setup answer-values", weaker_network),
    ("claims", 1, "setup", no_correction),
    ("claims", 2, "setup", no_margin),
    ("inside", 1, "setup answer-values costs", without_happy),
    ("inside", 2, "setup answer-values", fewer_pairs),
    ("speed", 1, "setup fast", compiling),
    ("speed", 2, "setup trainings", higher_goal),
    ("try", 1, "setup fading", smaller_expression),
    ("try", 2, "setup fading", photographs),
]


@pytest.mark.parametrize(
    ("chapter", "number", "ids", "said"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES]
)
def test_what_a_solution_says_comes_out(chapter, number, ids, said, monkeypatch):
    for module, name in ((claims, "MARGIN"), (bench, "GOAL")):  # which two exercises set
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(claims, "own_evidence", lambda *_: claims.recorded_evidence())
    question, _ = exercises(chapter)[number - 1]
    before = run(chapter, ids)
    said(before, run(chapter, ids, *change(question)))
