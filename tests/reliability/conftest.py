"""One nursery for all; what the tests measured stands at the end of the report."""

import pytest
from nursery import Nursery

LINES = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def nursery():
    with Nursery() as one:
        yield one


@pytest.fixture(scope="session")
def report(request):
    """Lines for the terminal summary."""
    return request.config.stash.setdefault(LINES, [])


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("reliability")
        for line in lines:
            terminalreporter.write_line(line)
