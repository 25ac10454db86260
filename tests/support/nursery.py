"""Processes by the dozen: forked from one that has imported everything and opened nothing.

A test that kills a process needs a real one, and dozens of them. Starting Python and importing
both databases takes seconds; a fork of a process that has done so takes milliseconds. The nursery
itself never opens a database nor runs an algorithm, so that its children begin like new ones.
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).parents[1]
WAIT_SECONDS = 180
# Whatever a job or the product below it imports on first use.
WARM = (
    "torch",
    "scipy.sparse.csgraph",
    "scipy.sparse.linalg",
    "chromadb",
    "lancedb",
    "lance",
    "lancedb.index",
    "pandas",
    "energy_chroma",
    "energy_lancedb",
    "energy_lancedb.column_layout",
    "energy_lancedb.companion_layout",
    "energy_plugin.forgetting",
    "energy_plugin.energy.fit.mapping",
    "energy_plugin.energy.upkeep.maintenance",
)


class JobError(AssertionError):
    """A job raised; the message is its traceback."""


class Child:
    """One job in a process of its own, which says JSON lines."""

    def __init__(self, pid, pipe):
        self.pid = pid
        self._pipe = pipe
        self._buffer = b""
        self.ended = False

    def next(self, timeout=WAIT_SECONDS):
        """The next line, None where the process has ended."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(self._pipe, left):
                self.kill()
                raise JobError(f"process {self.pid} said nothing for {timeout} s")
            found = os.read(self._pipe, 1 << 16)
            if not found:
                self.close()
                return None
            self._buffer += found
        line, _, self._buffer = self._buffer.partition(b"\n")
        message = json.loads(line)
        if isinstance(message, dict) and "error" in message:
            raise JobError(message["error"])
        return message

    def waiting(self):
        """Whether there is something to read, or the process has ended."""
        return bool(self._buffer) or _readable(self._pipe, 0)

    def result(self, timeout=WAIT_SECONDS):
        """The last thing that it says; it must end by itself."""
        last = None
        while (message := self.next(timeout)) is not None:
            last = message
        assert last is not None, f"process {self.pid} died"
        return last

    def kill(self):
        """SIGKILL: nothing runs any more, no handler, no flush."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self.pid, signal.SIGKILL)

    def close(self):
        if not self.ended:
            self.ended = True
            os.close(self._pipe)


def _readable(pipe, seconds):
    """Whether there is something to read within the time; `select` ends at file 1,024."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


class Nursery:
    """Starts jobs ``"module:function"`` in processes of their own; see `say` for their side."""

    def __init__(self):
        own, theirs = socket.socketpair()
        path = [str(TESTS), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__)), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
                "OMP_NUM_THREADS": "1",
            },
        )
        theirs.close()
        self._socket = own
        self._socket.settimeout(WAIT_SECONDS)
        assert self._socket.recv(16) == b"ready"

    def start(self, job, *arguments):
        read, write = os.pipe()
        socket.send_fds(self._socket, [json.dumps([job, arguments]).encode()], [write])
        os.close(write)
        return Child(int(self._socket.recv(32)), read)

    def run(self, job, *arguments):
        return self.start(job, *arguments).result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        self._process.wait(timeout=WAIT_SECONDS)


def _serve(place):
    for module in WARM:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    place.sendall(b"ready")
    while True:
        request, pipes, _, _ = socket.recv_fds(place, 1 << 20, 1)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            place.close()
            _run(pipes[0], *json.loads(request))
        os.close(pipes[0])
        place.sendall(str(pid).encode())


def _run(pipe, job, arguments):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def say(message):
        os.write(pipe, json.dumps(message).encode() + b"\n")

    try:
        module, name = job.split(":")
        result = getattr(importlib.import_module(module), name)(say, *arguments)
        if result is not None:
            say(result)
    except BaseException:
        say({"error": traceback.format_exc()})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
