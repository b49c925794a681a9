"""A Sphinx extension for the book's pages: their own style, and plotly's script shipped once, so that no other host is asked."""

import shutil
from pathlib import Path


def copy_files(app, error) -> None:
    """Copy the style, and plotly's script from its package, into _static of the finished HTML."""
    if error is None and app.builder.format == "html":
        import plotly

        for file in (Path(__file__).with_name("page.css"), Path(plotly.__file__).parent / "package_data" / "plotly.min.js"):
            shutil.copyfile(file, Path(app.outdir) / "_static" / file.name)


def setup(app) -> dict:
    """Register the extension with Sphinx."""
    app.add_css_file("page.css")
    app.connect("build-finished", copy_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
