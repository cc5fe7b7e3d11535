"""Sphinx configuration: ``sphinx-build -W docs docs/_build/html``."""

from rfnumeric._version import __version__

project = "rfnumeric"
author = "the rfnumeric developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# Tables below results are included by pages.
exclude_patterns = ["_build", "results"]
html_theme = "furo"
html_title = f"rfnumeric {release}"
autodoc_typehints = "none"
napoleon_google_docstring = False
# Types in docstrings are words ("array, shape (..., m, n)"), not links.
napoleon_preprocess_types = False
