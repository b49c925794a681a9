"""The command line: python -m hw3 COMMAND. An error is one line and exit status 1."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hw3 import faces, metrics, recipes, runs, trained, weights
from hw3.commands import CHANGES, DATA, FRESH, MUCH, PROFILE, Commands, option
from hw3.disk import ROOT, build_dir, write_atomically
from hw3.faces import FacesError
from hw3.sources.download import download
from hw3.sources.layouts import resize


def main(arguments: list[str] | None = None) -> None:
    """Run a command."""
    commands().run(arguments)


def commands() -> Commands:
    """Return all commands: each is a function below."""
    made = Commands("hw3", "Seven emotions in 48x48 gray faces: the report's helper.")
    network = option("network", choices=("cnn", "dnn"))
    text = "how to train (default: original)"
    name = option("--recipe", choices=recipes.RECIPES, default="original", help=text)
    seed = option("--seed", type=int, default=0, help="of everything random (default: 0)")
    training = DATA, PROFILE, name, seed, CHANGES

    add = made.add(data, DATA).add_argument
    add("--download", action="store_true", help="get FER2013 into data/ through kagglehub")
    add("--resize", action="store_true", help="make emotion folders of any pictures a CSV, 48x48")
    made.add(train, network, *training, FRESH)
    made.add(evaluate, network, *training)
    add = made.add(predict, *training).add_argument
    add("files", nargs="+", metavar="FILE", help="pictures (their middle square), or a test.csv")
    add("--crop", metavar="X,Y,SIZE", help="another square: left, top and side, in pixels")
    add("-o", "--output", metavar="result.csv", help="where the submission goes (for a test.csv)")
    add("--network", choices=("cnn", "dnn"), help="your own one instead of the recorded CNN")
    add = made.add(record, DATA, CHANGES).add_argument
    add("--profile", default="full", **MUCH)
    add("name", choices=[f"{r}-{n}" for r, networks in recipes.RECIPES.items() for n in networks])
    add("--seeds", type=int, default=1, metavar="N", help="the seeds up to N - 1 (default: 1)")
    add("--first", type=int, default=0, metavar="K", help="the seeds from K on (default: 0)")
    made.add(results)
    return made


def data(options) -> None:
    """Describe the faces found, or get FER2013."""
    if options.download:
        download()
    if options.resize:
        options.data = resize(Path(options.data or os.environ.get("HW3_DATA") or ROOT / "data"))
        print(f"wrote {options.data}: name it in --data, HW3_DATA or make's DATA")
    data = faces.find(options.data)
    print(f"{data.name}: {len(data):,} faces from {data.source}, fingerprint {data.fingerprint}")
    for part, counts in data.counts().items():
        emotions = ", ".join(f"{emotion} {n:,}" for emotion, n in counts.items())
        print(f"{part}: {sum(counts.values()):,} ({emotions})")


def train(options) -> None:
    """Train a network, unless its run is on disk already, or go on with an interrupted training."""
    join_hosts()
    recipe = chosen(options, options.network)
    report(trained.obtain(options.network, faces.find(options.data), recipe, options.fresh))


def evaluate(options) -> None:
    """Print the accuracy of a trained network."""
    recipe = chosen(options, options.network)
    report(runs.load(runs.run_folder(options.network, faces.find(options.data), recipe)))


def join_hosts() -> None:
    """Join the other hosts that Keras's own variables name; each keeps its own run."""
    if os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES"):
        host = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "")
        if os.environ["KERAS_BACKEND"] != "jax" or not host.isdecimal():
            todo = "set KERAS_BACKEND=jax, and KERAS_DISTRIBUTION_PROCESS_ID on each: 0, 1, ..."
            raise ValueError(f"several hosts are named: {todo}")
        from hw3.backend import keras

        os.environ["HW3_BUILD"] = str(build_dir() / f"host-{host}")
        keras.distribution.initialize()


def chosen(options, network: str) -> recipes.Recipe:
    """Return the recipe that the options name."""
    changes = {"seed": options.seed} | dict(map(recipes.change, options.set))
    return recipes.recipe(network, options.profile, options.recipe, **changes)


def report(run: runs.Run) -> None:
    """Print what a run reached on each labeled part."""
    print(f"{run.network}: {run.label()}, {run.seconds:.0f} s")
    for part, (_, labels, _) in run.predictions.items():
        if (labels != faces.UNLABELED).all():
            print(f"{part}: accuracy {metrics.accuracy(run, part)}")


def predict(options) -> None:
    """Classify pictures with the recorded CNN, or the course's test.csv into a submission."""
    own = options.recipe, options.profile, options.seed, options.set
    if not options.network and own != ("original", "quick", 0, []):
        problem = "--recipe, --profile, --seed and --set name a network of your own"
        raise ValueError(f"{problem}: add --network cnn or --network dnn")
    pictures = [f for f in options.files if Path(f).suffix.lower() not in (".csv", ".gz", ".zip")]
    table = not pictures and len(options.files) == 1 and options.output and not options.crop
    if not table and (options.output or pictures != options.files):
        raise FacesError("name either pictures, or one test.csv with -o result.csv and no --crop")
    if options.output and not replaceable(Path(options.output)):
        raise FacesError(f"{options.output}: the submission would replace it; name a new file")
    if pictures:
        images = np.stack([faces.picture(Path(file), options.crop) for file in pictures])
    else:
        ids, images = faces.parse_test(options.files[0])
    from hw3 import train  # Keras takes seconds: first, all that may be refused

    if options.network:
        recipe = chosen(options, options.network)
        model = weights.load_model(options.network, faces.find(options.data), recipe)
        print(f"{options.network}, recipe {recipe.name} ({recipe.profile})")
    else:
        model, about = weights.load_small()
        print(f"recorded CNN: {about['label']}")
    probabilities = train.predict(model, images, recipe.views if options.network else 1)
    if not pictures:
        write_submission(options.output, ids, probabilities.argmax(1))
        return
    for name, row in zip(pictures, probabilities, strict=True):
        best = ", ".join(f"{faces.EMOTIONS[e]} {row[e]:.1%}" for e in np.argsort(-row))
        print(f"{name}: {best}")


def replaceable(path: Path) -> bool:
    """Return whether at path is nothing, an empty file or an earlier submission."""
    if not path.is_file():
        return not path.exists()
    with open(path, "rb") as file:
        return file.readline(100).strip() in (b"", b"id,label")


def write_submission(path: str, ids: list[str], labels: np.ndarray) -> None:
    """Write the course's id,label file."""
    table = pd.DataFrame({"id": ids or range(len(labels)), "label": labels})
    write_atomically(Path(path), lambda file: table.to_csv(file, index=False))
    numbered = "" if ids else "; the test has no ids, so its rows are numbered from 0"
    print(f"wrote {len(labels):,} labels to {path}{numbered}")


def record(options) -> None:
    """Train what is not trained yet, on FER2013, drawn-cnn on drawn faces, and keep the runs."""
    join_hosts()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(build_dir() / "jax"))  # for later seeds
    first, seeds = options.first, range(options.first, options.seeds)
    if not 0 <= first < options.seeds <= first + 1000:
        must = "--first must be at least 0, and --seeds larger, by 1000 at most"
        raise ValueError(f"--first {first} --seeds {options.seeds}: {must}")
    options.seed, (options.recipe, _, network) = first, options.name.rpartition("-")
    wanted = [replace(chosen(options, network), seed=seed) for seed in seeds]
    if not wanted[0].tests:
        todo = "take profile cpu or full, and no --set tests=False"
        raise ValueError(f"{options.name} without the tests is not recorded: {todo}")
    if options.name == runs.DRAWN_CNN:
        data = faces.drawn()
    else:
        data = faces.find(options.data)
        runs.check_recordable(data)
    for recipe in wanted:  # one by one, so that nothing is lost where a later one is broken off
        run = trained.obtain(network, data, recipe)
        folder = runs.record(run)
        report(runs.load(folder))
        print(f"recorded in {folder.relative_to(ROOT)}")
        known = runs.recorded(options.name)
        alike = [r for r in known if replace(r.recipe, seed=first) == wanted[0]]
        if options.name in (runs.SHOWN_CNN, runs.DRAWN_CNN) and alike[0].recipe == recipe:
            keep_weights(run, data)
    for run in known:
        if replace(run.recipe, seed=first) != wanted[0]:
            place = folder.with_name(runs.slug(run)).relative_to(ROOT)
            print(f"{place} comes from another recipe: remove it, or record this seed too")


def keep_weights(run: runs.Run, data: faces.Faces) -> None:
    """Record a CNN's weights in one byte each, and print what that costs on faces kept from it."""
    from hw3 import train

    part = "held-out" if run.recipe.public else "PublicTest"
    model, (rows, labels, _) = weights.load_model("cnn", data, run.recipe), run.predictions[part]
    about = {"label": run.label(), "architecture": run.recipe.architecture}
    about |= {"part": part, "n": len(rows)}
    for name, network in (("hits", model), ("hits in one byte", weights.rounded(model))):
        predicted = train.predict(network, data.images[rows]).argmax(1)
        about[name] = int((predicted == labels).sum())
    weights.save_small(model, about, run.recipe.name)
    hits = f"{about['hits']:,} of {len(rows):,} right, in one byte {about['hits in one byte']:,}"
    print(f"weights of seed {run.recipe.seed}: {part} {hits}")


def results(options) -> None:
    """List the recorded runs and how each was made: what it reached, when, on what, the command."""
    for name in [*runs.recorded_names(), runs.DRAWN_CNN]:
        for run in runs.recorded(name):
            software = f"Keras {run.versions['keras']} on {list(run.versions)[2]}"
            print(f"\n{runs.slug(run)}, {run.date[:10]}, {software}")
            report(run)
            if run.note:
                print(f"note: {run.note}")
            backend = "KERAS_BACKEND=jax " if "jax" in run.versions else ""
            seed, size = run.recipe.seed, f"--profile {run.recipe.profile}"
            seeds = f"--first {seed} --seeds {seed + 1}"
            seeds += " --data fer2013.csv" * (name != runs.DRAWN_CNN)
            sets = "".join(f" --set {k}={value}" for k, (value, _) in runs.changes(run).items())
            print(f"made by: {backend}python -m hw3 record {name} {size} {seeds}{sets}")


if __name__ == "__main__":
    main()
