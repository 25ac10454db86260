"""One nursery for all; what the tests measured stands at the end of the report."""

import contextlib
import subprocess

import pytest
from support.nursery import Nursery

LINES = pytest.StashKey[list]()


@pytest.fixture(scope="session")
def nursery():
    with Nursery() as one:
        yield one


@pytest.fixture(scope="session")
def report(request):
    """Lines for the terminal summary."""
    return request.config.stash.setdefault(LINES, [])


@pytest.fixture
def small_disk(tmp_path):
    """Makes a folder on a disk of so many bytes; skipped where mounting is not permitted."""
    with contextlib.ExitStack() as mounted:

        def make(size):
            folder = tmp_path / "small"
            folder.mkdir()
            options = f"size={size},mode=777"
            command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            try:
                run = subprocess.run(command, capture_output=True, check=False, timeout=300)
            except OSError as error:
                pytest.skip(f"no mount: {error}")
            if run.returncode:
                pytest.skip(f"mounting is not permitted: {run.stderr.decode().strip()}")
            mounted.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield make


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("reliability")
        for line in lines:
            terminalreporter.write_line(line)
