"""Benchmarks beside faiss, LanceDB, Chroma and arrowspace: same vectors, same queries, one run.

Each part returns JSON primitives; `tables` turns them into Markdown, `plots` into PNG.
"""

from __future__ import annotations
