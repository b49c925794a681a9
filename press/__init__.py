"""The press: what turns chapters into pages. No chapter calls it, and who only wants to know how
the report computes may skip it.

chapters.py knows the chapters and what decides each, build.py runs them and builds the HTML,
page.py adds what pages need beyond the theme, translate.py makes the Chinese edition, pdf.py prints
the report.
"""

import os
import sys

from hw3.disk import ROOT, build_dir

# A person's IPython profile, kernels, packages and the like reach no kernel, also of JupyterLab.
os.environ |= {
    "IPYTHONDIR": str(build_dir() / "ipython"),
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "local-provisioner",
    "JUPYTER_PATH": f"{sys.prefix}/share/jupyter:{os.environ.get('JUPYTER_PATH', '')}".strip(":"),
    "PYTHONPATH": str(ROOT),
    "PYTHONUTF8": "1",
}
_none = "MPLBACKEND PLOTLY_RENDERER PYTHONOPTIMIZE PYTHONSTARTUP PYTHONWARNINGS SOURCE_DATE_EPOCH"
for _name in _none.split():
    os.environ.pop(_name, None)
