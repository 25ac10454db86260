"""Sphinx: MyST pages, numpydoc docstrings, the furo theme. Build with ``make docs``."""

import importlib.metadata

project = "energy-plugin"
author = "The energy-plugin maintainers"
copyright = author
release = version = importlib.metadata.version("energy-plugin")

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = "energy-plugin"
html_static_path: list[str] = []
