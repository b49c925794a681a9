"""Beyond the homework: what its further pages call. No answer to the five questions needs it, but
chapters may call it.

claims: all that the original states, tested. audit: repeated pictures in FER2013. votes: what ten
people saw. inside: what the network looks at. ablation: ingredients left out, ensembles,
calibration. bench: how fast. demo: the page that runs the network.
"""

import hw3  # noqa: F401  it says which backend Keras takes, so it comes before Keras
