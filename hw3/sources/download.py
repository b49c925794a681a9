"""FER2013 from Kaggle."""

import os
import shutil

from hw3.disk import ROOT
from hw3.sources.errors import FacesError


def download() -> None:
    """Get FER2013 into data/ through kagglehub, an optional package, or raise a FacesError."""
    try:
        import kagglehub

        got = kagglehub.dataset_download("msambare/fer2013")
    except ImportError:
        to_do = "run .venv/bin/pip install kagglehub, or put FER2013 into data/"
        raise FacesError(f"kagglehub is not installed: {to_do}") from None
    except Exception as error:  # whatever kagglehub raises without a network or an account
        line = str(error).strip().partition("\n")[0]
        to_do = "check the network and your Kaggle account"
        raise FacesError(f"kagglehub could not get FER2013 ({line}): {to_do}") from None
    data = ROOT / "data"
    for name in os.listdir(got):
        if os.path.lexists(data / name):
            raise FacesError(f"data/{name} is there already: move it away, then download again")
    part = data / ".part"  # hidden, so that half of it is never taken for FER2013
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(got, part)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        # shutil's own error lists one for each file
        reason = error.args[0][0][-1] if isinstance(error, shutil.Error) else error.strerror
        raise FacesError(f"data/ cannot take FER2013 ({reason}): mend it, download again") from None
    for name in os.listdir(part):
        os.replace(part / name, data / name)
    part.rmdir()
