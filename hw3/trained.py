"""Trained networks: a run that is on disk is taken from there, any other is trained."""

import sys

from hw3 import runs
from hw3.disk import locked
from hw3.faces import Faces
from hw3.recipes import Recipe


def obtain(network: str, faces: Faces, recipe: Recipe, fresh=False) -> runs.Run:
    """Return the run of a network on faces by a recipe; train it unless it is on disk and whole.

    fresh trains in any case, else an interrupted training goes on. Raises as `train.train`.
    """
    folder = runs.run_folder(network, faces, recipe)
    checkpoint = folder.with_suffix(".checkpoint.npz")
    with locked(folder.with_suffix(".lock")):
        if fresh:
            checkpoint.unlink(missing_ok=True)
        else:
            try:
                return runs.load(folder)
            except FileNotFoundError:
                pass
            except ValueError as error:
                print(f"hw3: {error}; it is made again", file=sys.stderr)
        from hw3 import train  # imports Keras, which takes seconds

        run, model = train.train(network, faces, recipe, checkpoint)
        runs.save(run, folder, model.save_weights)
        checkpoint.unlink(missing_ok=True)
        return run
