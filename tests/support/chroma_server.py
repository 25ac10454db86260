"""A real ``chroma run`` process for the tests."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import chromadb

START_SECONDS = 60


class Server:
    """One server on one folder and port, which may be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        program = Path(sys.executable).with_name("chroma")
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [str(program), "run", "--path", str(self.folder), *address], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client().heartbeat()
            except Exception:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                return

    def client(self):
        return chromadb.HttpClient("127.0.0.1", self.port)

    async def async_client(self):
        return await chromadb.AsyncHttpClient("127.0.0.1", self.port)

    def kill(self):
        """As a power cut does."""
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)
