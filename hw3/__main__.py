"""The command line: python -m hw3 COMMAND. An error is one line and exit status 1, a command that
is mistyped argparse's.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from hw3 import faces, recipes
from hw3.commands import DATA, FRESH, PROFILE, Commands, option
from hw3.disk import ROOT, build_dir, write_atomically
from hw3.faces import FacesError
from hw3.sources.download import download


def chosen(options, network: str, seed: int | None = None):
    """Return the Recipe that the options name."""
    seed = options.seed if seed is None else seed
    return recipes.recipe(
        network,
        options.profile,
        options.recipe,
        seed=seed,
        **dict(map(recipes.change, options.set)),
    )


MOVED = {"beyond": ("audit", "inside", "votes", "bench"), "press": ("book", "translations", "pdf")}


def commands() -> Commands:
    """Return all commands: what a command does is said by the first line of its function."""
    made = Commands("hw3", "Seven emotions in 48x48 gray faces: the report's helper.")
    network = option("network", choices=("cnn", "dnn"))
    name = option(
        "--recipe",
        choices=recipes.RECIPES,
        default="original",
        help="how to train (default: original)",
    )
    seed = option("--seed", type=int, default=0, help="of everything random (default: 0)")
    text = "change a field of the recipe, as in --set epochs=5; may be repeated"
    change = option("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)

    made.add(data, DATA).add_argument(
        "--download", action="store_true", help="get FER2013 into data/ through kagglehub"
    )
    made.add(train, network, DATA, PROFILE, name, seed, change, FRESH)
    made.add(evaluate, network, DATA, PROFILE, name, seed, change)
    sub = made.add(predict, DATA, PROFILE, name, seed, change)
    sub.add_argument("files", nargs="+", metavar="FILE", help="pictures, or one test.csv")
    sub.add_argument(
        "-o", "--output", metavar="result.csv", help="where the submission goes (for a test.csv)"
    )
    sub.add_argument(
        "--network",
        choices=("cnn", "dnn"),
        help="use your own trained network instead of the recorded CNN",
    )
    sub = made.add(record, DATA, change)
    sub.add_argument(
        "name", choices=[f"{r}-{n}" for r, networks in recipes.RECIPES.items() for n in networks]
    )
    sub.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="the seeds up to N - 1 (default: 1)"
    )
    sub.add_argument(
        "--first", type=int, default=0, metavar="K", help="the seeds from K on (default: 0)"
    )
    sub.add_argument(
        "--profile",
        choices=recipes.PROFILES,
        default="full",
        help="how much to train (default: full)",
    )
    made.add(results)
    return made


def data(options) -> None:
    """Describe the faces found, or get FER2013."""
    if options.download:
        download()
    found = faces.find(options.data)
    print(
        f"{found.name}: {len(found):,} faces from {found.source}, fingerprint {found.fingerprint}"
    )
    for part, emotions in found.counts().items():
        print(
            f"{part}: {sum(emotions.values()):,} ("
            + ", ".join(f"{e} {n:,}" for e, n in emotions.items())
            + ")"
        )


def train(options) -> None:
    """Train a network, unless its run is on disk already, or go on with an interrupted training."""
    from hw3 import runs

    join_hosts()
    report(
        runs.obtain(
            options.network,
            faces.find(options.data),
            chosen(options, options.network),
            options.fresh,
        )
    )


def evaluate(options) -> None:
    """Print the accuracy of a trained network."""
    from hw3 import runs

    report(
        runs.load(
            runs.run_folder(
                options.network, faces.find(options.data), chosen(options, options.network)
            )
        )
    )


def join_hosts() -> None:
    """Join the other hosts of a training where Keras's own variables name them; each host keeps its
    own copy of the run.
    """
    if os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES"):
        import keras

        os.environ["HW3_BUILD"] = str(
            build_dir() / f"host-{os.environ['KERAS_DISTRIBUTION_PROCESS_ID']}"
        )
        keras.distribution.initialize()


def report(run) -> None:
    """Print what a run reached on each labeled part."""
    from hw3 import metrics

    print(f"{run.network}: {run.label()}, {run.seconds:.0f} s")
    for part, (_, labels, _) in run.predictions.items():
        if (labels != faces.UNLABELED).all():
            print(f"{part}: accuracy {metrics.accuracy(run, part)}")


def predict(options) -> None:
    """Classify pictures with the recorded CNN, or the course's test.csv (id,feature) into a
    submission (id,label).
    """
    import numpy as np

    from hw3 import runs, train

    if not options.network and (options.recipe, options.profile, options.seed, options.set) != (
        "original",
        "quick",
        0,
        [],
    ):
        raise ValueError(
            "--recipe, --profile, --seed and --set name a network of your own: add --network cnn or --network dnn"
        )
    pictures = [f for f in options.files if not faces.is_table(f)]
    if pictures and (options.output or len(pictures) < len(options.files)):
        raise FacesError("name either pictures, or one test.csv with -o result.csv")
    if not pictures and (len(options.files) > 1 or not options.output):
        raise FacesError(
            f"{options.files[0]}: name one test.csv, and where the submission goes: -o result.csv"
        )
    if options.output and not replaceable(Path(options.output)):
        raise FacesError(
            f"{options.output}: the submission would replace it; name a new file, as in -o result.csv"
        )
    ids, images = (
        (pictures, np.stack([faces.picture(f) for f in pictures]))
        if pictures
        else faces.parse_test(options.files[0])
    )
    views = 1
    if options.network:
        recipe = chosen(options, options.network)
        views = recipe.views
        model = runs.load_model(options.network, faces.find(options.data), recipe)
        print(f"{options.network}, recipe {recipe.name} ({recipe.profile})")
    else:
        model, about = runs.load_small()
        print(f"recorded CNN: {about['label']}")
    p = train.predict(model, images, views)
    if pictures:
        for name, row in zip(ids, p, strict=True):
            best = ", ".join(f"{faces.EMOTIONS[e]} {row[e]:.1%}" for e in np.argsort(-row))
            print(f"{name}: {best}")
    else:
        write_submission(options.output, ids, p.argmax(1))


def replaceable(path: Path) -> bool:
    """Return whether nothing is lost by a submission at path: there is nothing, an empty file, or
    an earlier submission.
    """
    if not path.is_file():
        return not path.exists()
    with open(path, "rb") as file:
        return file.readline(100).strip() in (b"", b"id,label")


def write_submission(path: str, ids: list[str], labels) -> None:
    """Write the course's id,label file."""
    import pandas as pd

    write_atomically(
        Path(path),
        lambda file: pd.DataFrame({"id": ids, "label": labels}).to_csv(file, index=False),
    )
    print(f"wrote {len(labels):,} labels to {path}")


def record(options) -> None:
    """Train on FER2013 what is not trained yet, and keep the runs under results/fer2013/.

    The runs are those of a recipe for the seeds K to N - 1; of "modern-cnn" the weights of the best
    are kept, too.
    """
    join_hosts()
    os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", str(build_dir() / "jax")
    )  # the second seed need not compile again
    from hw3 import runs

    seeds = range(options.first, options.seeds)
    if not 0 <= options.first < options.seeds <= options.first + 1000:
        must = "--first must be at least 0, and --seeds larger, by 1000 at most"
        raise ValueError(f"--first {options.first} --seeds {options.seeds}: {must}")
    options.recipe, _, network = options.name.rpartition("-")
    wanted = [chosen(options, network, seed) for seed in seeds]
    if not wanted[0].tests:
        raise ValueError(
            f"{options.name} without the tests is not recorded: take profile cpu or full, and no --set tests=False"
        )
    data = faces.find(options.data)
    runs.check_recordable(data)
    alike = [
        run
        for run in runs.recorded(options.name)
        if replace(run.recipe, seed=seeds[0]) == wanted[0]
    ]
    best = min((runs.rank(run) for run in alike if run.recipe.seed not in seeds), default=(1, 0))
    for (
        recipe
    ) in wanted:  # recorded one by one, so that nothing is lost where a later one is broken off
        run = runs.obtain(network, data, recipe)
        folder = runs.record(run)
        report(runs.load(folder))
        print(f"recorded in {folder.relative_to(ROOT)}")
        if options.name == "modern-cnn" and runs.rank(run) < best:
            best = runs.rank(run)
            keep_weights(run, data)
    for run in runs.recorded(options.name):
        if replace(run.recipe, seed=seeds[0]) != wanted[0]:
            print(
                f"results/fer2013/{runs.slug(run)} comes from another recipe: remove it, or record this seed too"
            )


def keep_weights(run, data) -> None:
    """Record the weights of a trained CNN in one byte each, and print what that costs on
    PublicTest.
    """
    from hw3 import runs, train

    model, public = runs.load_model("cnn", data, run.recipe), data.only("PublicTest")
    about = {
        "label": run.label(),
        "architecture": run.recipe.architecture,
        "part": "PublicTest",
        "n": len(public),
    }
    for name, network in (("hits", model), ("hits in one byte", runs.rounded(model))):
        about[name] = int((train.predict(network, public.images).argmax(1) == public.labels).sum())
    runs.save_small(model, about)
    said = (
        "weights of seed {}: PublicTest {hits:,} of {n:,} right, in one byte {hits in one byte:,}"
    )
    print(said.format(run.recipe.seed, **about))


def results(options) -> None:
    """List the recorded runs and how each was made: what it reached, when, on what, and the
    command.
    """
    from hw3 import runs

    for name in runs.recorded_names():
        for run in runs.recorded(name):
            print(
                f"\n{runs.slug(run)}, {run.date[:10]}, Keras {run.versions['keras']} on {list(run.versions)[2]}"
            )
            report(run)
            sets = [f"--set {k}={v}" for k, (v, _) in runs.changes(run).items()]
            size = f"--profile {run.recipe.profile} --first {run.recipe.seed} --seeds {run.recipe.seed + 1}"
            if run.note:
                print(f"note: {run.note}")
            on = "KERAS_BACKEND=jax " * ("jax" in run.versions)
            print(
                " ".join(
                    [f"made by: {on}python -m hw3 record {name} {size} --data fer2013.csv", *sets]
                )
            )


def main(arguments=None) -> None:
    """Run a command; a word that has moved to another package is answered with one line that names
    it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    for package, moved in MOVED.items():
        if words and words[0] in moved:
            sys.exit(f"hw3: {words[0]} has moved: run python -m {package} {' '.join(words)}")
    commands().run(words)


if __name__ == "__main__":
    main()
