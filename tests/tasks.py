"""What workers of a test are given to do, in a module of its own: they load no more than it."""

import time

from press.build import BuildError


def sad():
    raise BuildError("hw3: the kettle is empty")


def late(path):
    time.sleep(0.5)
    path.mkdir()
