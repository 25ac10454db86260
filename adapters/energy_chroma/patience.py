"""Calls after a write that failed: Chroma may never answer them.

Where storage refused a write (a full disk, a file that may not grow), the threads of Chroma's
embedded database can wait for one another for ever in the next one, or in what a verb reads around
it. They may keep Python's interpreter lock meanwhile (seen with chromadb 1.5.9), so that nothing in
the process can end the waiting. So no call is made as long as storage refuses, and the ones after
that are limited in time. As long as nothing failed, calls go straight to Chroma.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from chromadb.errors import InternalError

from energy_plugin.errors import HostWriteError

T = TypeVar("T")

WAIT_SECONDS = 60.0
VERB = 2.0  # of them for a verb with all that it reads, so that the write in it gives up first


class Patience:
    """Calls of one collection; limited in time once a write has failed.

    Parameters
    ----------
    seconds : float
        How long a write may take after one that failed.
    refused : callable
        Why storage would refuse a write now; None where it would not, or one cannot tell.
    """

    def __init__(
        self, seconds: float = WAIT_SECONDS, refused: Callable[[], str | None] = lambda: None
    ) -> None:
        self.seconds = seconds
        self._refused = refused
        self.failed = False
        self._stuck: threading.Thread | None = None  # of a call that was given up

    def call(self, write: Callable[[], T], times: float = 1.0) -> T:
        """Return what `write` returns.

        Parameters
        ----------
        write : callable
        times : float
            How many times `seconds` it may take.

        Raises
        ------
        HostWriteError
            A write failed before, and storage still refuses, or this one has not ended in time,
            or an earlier one that was given up waits still.
        """
        try:
            return self._waited(write, times * self.seconds) if self.failed else write()
        except InternalError:  # storage said no; refused input does not shake the database
            self.failed = True
            raise

    def _waited(self, write: Callable[[], T], seconds: float) -> T:
        if self._stuck is not None and self._stuck.is_alive():
            raise HostWriteError(
                "Chroma has not answered an earlier call, which still waits. Restart the process, "
                "and call repair()."
            )
        reason = self._refused()
        if reason is not None:
            raise HostWriteError(
                f"Storage refused an earlier write and would refuse another ({reason}). Nothing "
                "was written. Free disk space, then retry."
            )
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(write())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="chroma-write", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._stuck = thread
            raise HostWriteError(
                f"Chroma has not answered a write for {seconds:g} s, after an earlier write "
                "failed: its database threads wait for each other. It is not known whether the "
                "rows are stored. Free disk space, restart the process, and call repair()."
            )
        if errors:
            raise errors[0]
        return results[0]
