"""Processes that tests start: bound by file permissions, even where the tests run as root."""

import os
import shutil
import sys

import pytest


def bound_by_permissions():
    """The start of a command line whose Python may not write what its mode forbids.

    Root keeps the right to read and enter every folder, so that the interpreter and the checkout
    may stand in a home that nobody else can enter; only the right to write anywhere is dropped.
    """
    python = [sys.executable, "-W", "ignore", "-c"]
    if os.geteuid() != 0:
        return python
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root is bound by no mode, and there is no setpriv (util-linux)")
    return [setpriv, "--bounding-set", "-dac_override,-fowner,-chown", *python]
