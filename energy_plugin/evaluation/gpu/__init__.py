"""Everything that a card decides, measured in one run: results, rates, and the tests for it.

Each part returns JSON primitives and is kept in a file of its own, so that a run that was cut
short goes on; `tables` turns them into Markdown.
"""

from __future__ import annotations
