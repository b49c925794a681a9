"""The command line: python -m hw3 data | train | evaluate | predict | book. Errors are one line and exit status 1."""

import argparse
import sys

from hw3 import faces, recipes
from hw3.faces import FacesError


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="python -m hw3", description="Seven emotions in 48x48 grey faces: the report's helper.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, text, *networks):
        sub = commands.add_parser(name, help=text, description=text)
        if networks:
            sub.add_argument("network", choices=networks)
        where = "faces: a file or folder of FER2013 (default: HW3_DATA, then data/, then the drawn faces)"
        sub.add_argument("--data", metavar="PATH", help=where)
        if name != "data":
            sub.add_argument("--profile", choices=recipes.PROFILES, default="quick", help="how much to train (default: quick)")
        return sub

    data = command("data", "describe the faces found, or get FER2013")
    data.add_argument("--download", action="store_true", help="get FER2013 into data/ through kagglehub")
    for name, text in (
        ("train", "train a network, or go on with an interrupted training"),
        ("evaluate", "print the accuracy of a trained network"),
    ):
        sub = command(name, text, "cnn", "dnn")
        sub.add_argument("--loss", choices=("stable", "clipped"), default="stable", help="cross-entropy (default: stable)")
        sub.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    commands.choices["train"].add_argument("--fresh", action="store_true", help="train again even if nothing changed")
    predict = command("predict", "classify the course's test.csv (id,feature) into a submission (id,label)")
    predict.add_argument("test", metavar="test.csv")
    predict.add_argument("-o", "--output", required=True, metavar="result.csv")
    predict.add_argument("--network", choices=("cnn", "dnn"), default="cnn", help="which trained network (default: cnn)")
    book = command("book", "run the chapters and build the HTML (what `make book` calls)")
    book.add_argument("--fresh", action="store_true", help="train again even if nothing changed")
    return top


def data(options) -> None:
    """Describe the faces found."""
    if options.download:
        download()
    found = faces.find(options.data)
    print(f"{found.name}: {len(found):,} faces from {found.source}, fingerprint {found.fingerprint}")
    for part, emotions in found.counts().items():
        print(f"{part}: {sum(emotions.values()):,} (" + ", ".join(f"{e} {n:,}" for e, n in emotions.items()) + ")")


def download() -> None:
    """Get FER2013 through kagglehub, an optional package, into data/. Raises FacesError in one line where that fails."""
    import shutil
    from pathlib import Path

    from hw3.runs import ROOT

    try:
        import kagglehub

        folder = Path(kagglehub.dataset_download("msambare/fer2013"))
    except ImportError:
        raise FacesError("kagglehub is not installed: run .venv/bin/pip install kagglehub, or put FER2013 into data/") from None
    except Exception as error:  # whatever kagglehub raises without a network or an account
        line = str(error).strip().partition("\n")[0]
        raise FacesError(f"kagglehub could not get FER2013 ({line}): check the network and your Kaggle account") from None
    shutil.copytree(folder, ROOT / "data", dirs_exist_ok=True)


def train(options) -> None:
    """Train a network, unless its run is on disk already."""
    from hw3 import runs

    recipe = recipes.recipe(options.network, options.profile, loss=options.loss, seed=options.seed)
    report(runs.obtain(options.network, faces.find(options.data), recipe, options.fresh))


def evaluate(options) -> None:
    """Print the accuracies of a trained network."""
    from hw3 import runs

    recipe = recipes.recipe(options.network, options.profile, loss=options.loss, seed=options.seed)
    report(runs.load(runs.run_folder(options.network, faces.find(options.data), recipe)))


def report(run) -> None:
    """Print what a run reached on each labeled part."""
    from hw3 import metrics

    print(f"{run.network}: {run.label()}, {run.seconds:.0f} s")
    for part, (_, labels, _) in run.predictions.items():
        if (labels != faces.UNLABELED).all():
            print(f"{part}: accuracy {metrics.percent(*run.hits(part))}")


def predict(options) -> None:
    """Write the submission of a trained network."""
    from pathlib import Path

    from hw3 import runs, train

    ids, images = faces.parse_test(options.test)
    network = runs.load_model(options.network, faces.find(options.data), recipes.recipe(options.network, options.profile))
    labels = train.predict(network, images).argmax(1)
    text = "id,label\n" + "".join(f"{i},{label}\n" for i, label in zip(ids, labels, strict=True))
    runs.write_atomically(Path(options.output), lambda file: file.write(text.encode()))
    print(f"wrote {len(labels):,} labels to {options.output}")


def book(options) -> None:
    """Build the book."""
    from hw3.book import build

    build(options.profile, options.data, options.fresh)


def main(arguments=None) -> None:
    """Run a command; turn every expected error into one line on stderr and exit status 1."""
    options = parser().parse_args(arguments)
    try:
        globals()[options.command](options)
    except KeyboardInterrupt:
        sys.exit("hw3: interrupted; start it again to go on")
    except (ValueError, RuntimeError, OSError, ImportError) as error:  # FacesError is a ValueError, BuildError a RuntimeError
        sys.exit(f"hw3: {error}" if not str(error).count("\n") else str(error))


if __name__ == "__main__":
    main()
