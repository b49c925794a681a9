"""The command line: python -m hw3 COMMAND. An error is one line and exit status 1, a command that is mistyped argparse's."""

import argparse
import errno
import os
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from hw3 import faces, recipes
from hw3.disk import ROOT, build_dir, write_atomically
from hw3.faces import FacesError


def chosen(options, network: str, seed: int | None = None):
    """Return the Recipe that the options name."""
    seed = options.seed if seed is None else seed
    return recipes.recipe(network, options.profile, options.recipe, seed=seed, **dict(map(recipes.change, options.set)))


def path(text: str) -> str:
    """Return a path as typed, with the home folder for ~, as not every shell puts it in; argparse refuses an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: name a file or folder, or leave the option out")
    return os.path.expanduser(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands: what a command does is said by the first line of its function."""
    top = argparse.ArgumentParser(prog="python -m hw3", description="Seven emotions in 48x48 gray faces: the report's helper.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(function, *shared) -> argparse.ArgumentParser:
        text = function.__doc__.partition("\n")[0].rstrip(".")
        sub = commands.add_parser(function.__name__, help=text, description=text, parents=shared)
        sub.set_defaults(run=function)
        return sub

    def option(*names, **settings) -> argparse.ArgumentParser:
        """Return an option that several commands share."""
        parent = argparse.ArgumentParser(add_help=False)
        parent.add_argument(*names, **settings)
        return parent

    text = "faces: a file or folder of FER2013 (default: HW3_DATA, then data/, then the drawn faces)"
    where = option("--data", metavar="PATH", type=path, help=text)
    profile = option("--profile", choices=recipes.PROFILES, default="quick", help="how much to train (default: quick)")
    fresh = option("--fresh", action="store_true", help="train again even if nothing changed")
    network = option("network", choices=("cnn", "dnn"))
    name = option("--recipe", choices=recipes.RECIPES, default="original", help="how to train (default: original)")
    seed = option("--seed", type=int, default=0, help="of everything random (default: 0)")
    text = "change a field of the recipe, as in --set epochs=5; may be repeated"
    change = option("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)

    command(data, where).add_argument("--download", action="store_true", help="get FER2013 into data/ through kagglehub")
    command(train, network, where, profile, name, seed, change, fresh)
    command(evaluate, network, where, profile, name, seed, change)
    sub = command(predict, where, profile, name, seed, change)
    sub.add_argument("files", nargs="+", metavar="FILE", help="pictures, or one test.csv")
    sub.add_argument("-o", "--output", metavar="result.csv", help="where the submission goes (for a test.csv)")
    sub.add_argument("--network", choices=("cnn", "dnn"), help="use your own trained network instead of the recorded CNN")
    sub = command(record, where, change)
    sub.add_argument("name", choices=[f"{r}-{n}" for r, networks in recipes.RECIPES.items() for n in networks])
    sub.add_argument("--seeds", type=int, default=1, metavar="N", help="the seeds up to N - 1 (default: 1)")
    sub.add_argument("--first", type=int, default=0, metavar="K", help="the seeds from K on (default: 0)")
    sub.add_argument("--profile", choices=recipes.PROFILES, default="full", help="how much to train (default: full)")
    command(audit, where).add_argument("--record", action="store_true", help="write results/audit/ anew instead")
    command(inside, where)
    command(votes).add_argument("file", metavar="fer2013new.csv", help="FER+'s own file")
    command(results)
    text = "few and small measurements, to see that it runs; nothing is kept"
    command(bench).add_argument("--quick", action="store_true", help=text)
    text = "write what is missing as empty entries into the catalog"
    command(translations).add_argument("--update", action="store_true", help=text)
    command(book, where, profile, fresh)
    command(pdf, where, profile, fresh)
    return top


def data(options) -> None:
    """Describe the faces found, or get FER2013."""
    if options.download:
        download()
    found = faces.find(options.data)
    print(f"{found.name}: {len(found):,} faces from {found.source}, fingerprint {found.fingerprint}")
    for part, emotions in found.counts().items():
        print(f"{part}: {sum(emotions.values()):,} (" + ", ".join(f"{e} {n:,}" for e, n in emotions.items()) + ")")


def download() -> None:
    """Get FER2013 through kagglehub, an optional package, into data/. Raises FacesError in one line where that fails."""
    try:
        import kagglehub

        got = Path(kagglehub.dataset_download("msambare/fer2013"))
    except ImportError:
        raise FacesError("kagglehub is not installed: run .venv/bin/pip install kagglehub, or put FER2013 into data/") from None
    except Exception as error:  # whatever kagglehub raises without a network or an account
        line = str(error).strip().partition("\n")[0]
        raise FacesError(f"kagglehub could not get FER2013 ({line}): check the network and your Kaggle account") from None
    taken = [folder.name for folder in got.iterdir() if os.path.lexists(ROOT / "data" / folder.name)]
    if taken:
        raise FacesError(f"data/{taken[0]} is there already and stays as it is: move it away, then download again")
    part = ROOT / "data" / ".part"  # hidden, so that half of it is never taken for FER2013
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(got, part)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = error.args[0][0][-1] if isinstance(error, shutil.Error) else error.strerror  # the first of a list of all files
        raise FacesError(f"FER2013 could not be copied into data/ ({reason}): mend that, then download again") from None
    for folder in part.iterdir():
        os.replace(folder, ROOT / "data" / folder.name)
    part.rmdir()


def train(options) -> None:
    """Train a network, unless its run is on disk already, or go on with an interrupted training."""
    from hw3 import runs

    join_hosts()
    report(runs.obtain(options.network, faces.find(options.data), chosen(options, options.network), options.fresh))


def evaluate(options) -> None:
    """Print the accuracy of a trained network."""
    from hw3 import runs

    report(runs.load(runs.run_folder(options.network, faces.find(options.data), chosen(options, options.network))))


def join_hosts() -> None:
    """Join the other hosts of a training where Keras's own variables name them; each host keeps its own copy of the run."""
    if os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES"):
        import keras

        os.environ["HW3_BUILD"] = str(build_dir() / f"host-{os.environ['KERAS_DISTRIBUTION_PROCESS_ID']}")
        keras.distribution.initialize()


def report(run) -> None:
    """Print what a run reached on each labeled part."""
    from hw3 import metrics

    print(f"{run.network}: {run.label()}, {run.seconds:.0f} s")
    for part, (_, labels, _) in run.predictions.items():
        if (labels != faces.UNLABELED).all():
            print(f"{part}: accuracy {metrics.percent(*run.hits(part))}")


def predict(options) -> None:
    """Classify pictures with the recorded CNN, or the course's test.csv (id,feature) into a submission (id,label)."""
    import numpy as np

    from hw3 import runs, train

    if not options.network and (options.recipe, options.profile, options.seed, options.set) != ("original", "quick", 0, []):
        raise ValueError("--recipe, --profile, --seed and --set name a network of your own: add --network cnn or --network dnn")
    pictures = [f for f in options.files if not faces.is_table(f)]
    if pictures and (options.output or len(pictures) < len(options.files)):
        raise FacesError("name either pictures, or one test.csv with -o result.csv")
    if not pictures and (len(options.files) > 1 or not options.output):
        raise FacesError(f"{options.files[0]}: name one test.csv, and where the submission goes: -o result.csv")
    if options.output and not replaceable(Path(options.output)):
        raise FacesError(f"{options.output}: the submission would replace it; name a new file, as in -o result.csv")
    ids, images = (pictures, np.stack([faces.picture(f) for f in pictures])) if pictures else faces.parse_test(options.files[0])
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
    """Return whether nothing is lost by a submission at path: there is nothing, an empty file, or an earlier submission."""
    if not path.is_file():
        return not path.exists()
    with open(path, "rb") as file:
        return file.readline(100).strip() in (b"", b"id,label")


def write_submission(path: str, ids: list[str], labels) -> None:
    """Write the course's id,label file."""
    import pandas as pd

    write_atomically(Path(path), lambda file: pd.DataFrame({"id": ids, "label": labels}).to_csv(file, index=False))
    print(f"wrote {len(labels):,} labels to {path}")


def record(options) -> None:
    """Train on FER2013 what is not trained yet, and keep the runs under results/fer2013/.

    The runs are those of a recipe for the seeds K to N - 1; of "modern-cnn" the weights of the best are kept, too.
    """
    join_hosts()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(build_dir() / "jax"))  # the second seed need not compile again
    from hw3 import runs

    seeds = range(options.first, options.seeds)
    if not 0 <= options.first < options.seeds <= options.first + 1000:
        must = "--first must be at least 0, and --seeds larger, by 1000 at most"
        raise ValueError(f"--first {options.first} --seeds {options.seeds}: {must}")
    options.recipe, _, network = options.name.rpartition("-")
    wanted = [chosen(options, network, seed) for seed in seeds]
    if not wanted[0].tests:
        raise ValueError(f"{options.name} without the tests is not recorded: take profile cpu or full, and no --set tests=False")
    data = faces.find(options.data)
    runs.check_recordable(data)
    alike = [run for run in runs.recorded(options.name) if replace(run.recipe, seed=seeds[0]) == wanted[0]]
    best = min((runs.rank(run) for run in alike if run.recipe.seed not in seeds), default=(1, 0))
    for recipe in wanted:  # recorded one by one, so that nothing is lost where a later one is broken off
        run = runs.obtain(network, data, recipe)
        folder = runs.record(run)
        report(runs.load(folder))
        print(f"recorded in {folder.relative_to(ROOT)}")
        if options.name == "modern-cnn" and runs.rank(run) < best:
            best = runs.rank(run)
            keep_weights(run, data)
    for run in runs.recorded(options.name):
        if replace(run.recipe, seed=seeds[0]) != wanted[0]:
            print(f"results/fer2013/{runs.slug(run)} comes from another recipe: remove it, or record this seed too")


def keep_weights(run, data) -> None:
    """Record the weights of a trained CNN in one byte each, and print what that costs on PublicTest."""
    from hw3 import demo, runs, train

    model, public = runs.load_model("cnn", data, run.recipe), data.only("PublicTest")
    about = {"label": run.label(), "architecture": run.recipe.architecture, "part": "PublicTest", "n": len(public)}
    for name, network in (("hits", model), ("hits in one byte", demo.rounded(model))):
        about[name] = int((train.predict(network, public.images).argmax(1) == public.labels).sum())
    runs.save_small(model, about)
    said = "weights of seed {}: PublicTest {hits:,} of {n:,} right, in one byte {hits in one byte:,}"
    print(said.format(run.recipe.seed, **about))


def audit(options) -> None:
    """Count FER2013's repeated pictures again, and compare with the recorded counts."""
    from hw3 import audit

    audit.again(faces.find(options.data), options.record)


def inside(options) -> None:
    """Look into the recorded CNN on PrivateTest, and record what is found (some minutes)."""
    from hw3 import inside

    print(f"{inside.record(faces.find(options.data)):,} faces of PrivateTest: results/inside/{inside.RECORDED.name}")


def votes(options) -> None:
    """Record FER+'s votes for PublicTest and PrivateTest."""
    from hw3 import votes

    print(f"the votes of {votes.record(options.file):,} pictures are in results/votes/{votes.RECORDED.name}")


def results(options) -> None:
    """List the recorded runs and how each was made: what it reached, when, on what, and the command."""
    from hw3 import runs

    for name in runs.recorded_names():
        for run in runs.recorded(name):
            print(f"\n{runs.slug(run)}, {run.date[:10]}, Keras {run.versions['keras']} on {list(run.versions)[2]}")
            report(run)
            sets = [f"--set {k}={v}" for k, (v, _) in runs.changes(run).items()]
            size = f"--profile {run.recipe.profile} --first {run.recipe.seed} --seeds {run.recipe.seed + 1}"
            if run.note:
                print(f"note: {run.note}")
            on = "KERAS_BACKEND=jax " * ("jax" in run.versions)
            print(" ".join([f"made by: {on}python -m hw3 record {name} {size} --data fer2013.csv", *sets]))


def bench(options) -> None:
    """Measure training steps and the loading of train.csv; unless quick, keep the figures under results/bench/."""
    from hw3 import bench

    bench.run(quick=options.quick)


def book(options) -> None:
    """Run the chapters and build the HTML (what `make book` calls)."""
    from hw3.press.book import build

    build(options.profile, options.data, options.fresh)


def translations(options) -> None:
    """List what the Chinese edition of the built book lacks, and what its catalog has in vain.

    Raises ValueError where there is any of either.
    """
    from hw3.press import translate

    translator, missing, stale = translate.check(translate.read_catalog(), translate.source_texts(), translate.built_messages())
    for kind, found in (("missing", missing), ("stale", stale)):
        for english, where in found.items():
            print(f"{kind}: {english}\n    {where}")
    if options.update:
        translate.update(missing, translator.met)
    if missing or stale:
        raise ValueError(f"book/locale/zh_TW.po: {len(missing)} texts have no translation, {len(stale)} translations are stale")
    print(f"{len(translate.read_catalog())} translations, none missing, none stale")


def pdf(options) -> None:
    """Build the book, then print it into one PDF through Chromium (what `make pdf` calls)."""
    from hw3.press.pdf import build

    build(options.profile, options.data, options.fresh)


def check_backend() -> None:
    """Raise ValueError, in one line, unless KERAS_BACKEND names a backend that is installed; imports none."""
    backend = os.environ["KERAS_BACKEND"]
    if backend not in ("tensorflow", "jax", "torch"):
        raise ValueError(f"KERAS_BACKEND is {backend!r}: name tensorflow or jax, or leave it out")
    if not find_spec(backend):
        raise ValueError(f"KERAS_BACKEND is {backend!r}, which is not installed: install it, or leave KERAS_BACKEND out")


def main(arguments=None) -> None:
    """Run a command; turn every expected error into one line on stderr and exit status 1."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as in >&-: the next file to be opened would get what is printed
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files may be of any letters
    options = parser().parse_args(arguments)
    try:
        check_backend()
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as in `results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(options.run not in (results, data))  # of the others something may not have been made
    except KeyboardInterrupt:
        sys.exit("hw3: interrupted; start it again to go on")
    except (ValueError, RuntimeError, OSError, ImportError) as error:  # FacesError is a ValueError, BuildError a RuntimeError
        if isinstance(error, OSError) and error.errno:  # what the system refused; libraries wrap it in many words
            error = f"{os.strerror(error.errno)}: {error.filename or 'while writing to ' + str(build_dir())}; {todo(error.errno)}"
        sys.exit(f"hw3: {error}" if not str(error).count("\n") else str(error))


def todo(code: int) -> str:
    """Return what to do about an error of the system."""
    elsewhere = "or name another folder in the environment variable HW3_BUILD"
    known = {errno.ENOSPC: f"free some space, {elsewhere}", errno.EROFS: f"make it writable, {elsewhere}"}
    return known.get(code, "check the path and its permissions")


if __name__ == "__main__":
    main()
