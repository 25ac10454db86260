"""Every test ends: an error after `timeout` of pyproject.toml, the whole run soon after that.

pytest-timeout interrupts Python code and what waits for a child. A call that hangs inside a
library's own threads cannot be interrupted: then all stacks are printed and the run ends.
And it ends with few files open, where a login allows 1,024: Chroma keeps those of every folder.

Threads of several processes that wait for work must not spin on the cores of the others: it costs
a third of the whole run.
"""

import contextlib
import faulthandler
import os
import sys

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read where torch is loaded

SLOW_SECONDS = 3600
GRACE_SECONDS = 120
_STDERR = pytest.StashKey[int]()


def pytest_configure(config):
    config.stash[_STDERR] = os.dup(2)  # pytest takes the place of the other while tests run


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else item.config.getini("timeout") or 0)
    if limit:
        faulthandler.dump_traceback_later(
            limit + GRACE_SECONDS, exit=True, file=item.config.stash[_STDERR]
        )
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module", autouse=True)
def _folders_of_chroma_are_closed():
    """Stop the databases that a module opened: a Chroma client leaves its own open."""
    before = set(_chroma_systems())
    yield
    for folder in set(_chroma_systems()) - before:
        system = _chroma_systems()[folder]
        if system.settings.is_persistent:
            with contextlib.suppress(AttributeError):  # stopped by the test, or never started
                system.stop()
            del _chroma_systems()[folder]


def _chroma_systems():
    """What Chroma holds for each folder, and nothing where it was never imported."""
    module = sys.modules.get("chromadb.api.shared_system_client")
    return module.SharedSystemClient._identifier_to_system if module else {}
