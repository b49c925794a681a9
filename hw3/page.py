"""A Sphinx extension for the book's pages: ships plotly's script once, beside them, so that no other host is asked."""

import shutil
from pathlib import Path


def copy_plotly(app, error) -> None:
    """Copy plotly's script from its package into _static of the finished HTML."""
    if error is None and app.builder.format == "html":
        import plotly

        script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        shutil.copyfile(script, Path(app.outdir) / "_static" / "plotly.min.js")


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    app.connect("build-finished", copy_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
