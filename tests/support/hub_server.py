"""The hub's file routes on this machine: whole files, byte ranges, and faults."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = 1 << 16  # bytes of an answer from which on it is one of tensors


@contextlib.contextmanager
def serving(find, commit):
    """A server of files, ``(address, handler)``.

    Parameters
    ----------
    find : callable
        Bytes of a file by name, None where there is no such file.
    commit : str
        Version that the answers name; ``handler.version`` changes it.

    ``handler.fault(handler, data, start, stop)`` may answer large requests in the server's place,
    ``handler.ranges = False`` sends whole files only, ``handler.sent`` counts bytes by file.
    """

    class Handler(BaseHTTPRequestHandler):
        fault = None
        ranges = True
        version = commit
        sent = {}  # noqa: RUF012

        def head(self, status, length, **more):
            kind = type(self)
            self.send_response(status)
            self.send_header("X-Repo-Commit", kind.version)
            self.send_header("ETag", f'"{kind.version} {self.name}"'.replace(" ", "-"))
            self.send_header("Content-Length", str(length))
            for key, value in more.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()

        def answer(self, *, body):
            self.name = self.path.rpartition("/")[2]
            data = find(self.name) if "/resolve/" in self.path else None
            if data is None:
                self.head(404, 0, X_Error_Code="EntryNotFound")
                return
            asked = self.headers.get("Range") if type(self).ranges and body else None
            if asked is None:
                self.head(200, len(data))
                self.send(data if body else b"")
                return
            size = len(data)
            start, stop = map(int, asked.removeprefix("bytes=").split("-"))
            data = data[start : stop + 1]
            if len(data) > LARGE and type(self).fault is not None:
                type(self).fault(self, data, start, stop)
                return
            self.head(206, len(data), Content_Range=f"bytes {start}-{stop}/{size}")
            self.send(data)

        def send(self, data):
            self.sent[self.name] = self.sent.get(self.name, 0) + len(data)
            self.wfile.write(data)

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", Handler
    finally:
        running.shutdown()
        running.server_close()
