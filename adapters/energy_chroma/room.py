"""Whether storage lets the file of an embedded database grow."""

from __future__ import annotations

import os
import tempfile

try:
    import resource
except ImportError:  # not on Windows, which has no such limit
    resource = None  # type: ignore[assignment]

ROOM_BYTES = 1 << 20  # that a write takes at least


def refused(file: str) -> str | None:
    """Why storage would refuse another write to a file, as far as one can tell; else None.

    A limit on the size of files is compared, and `ROOM_BYTES` are written beside the file.
    """
    try:
        size = os.path.getsize(file) + ROOM_BYTES
        if resource is not None:
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if limit != resource.RLIM_INFINITY and size > limit:
                return f"files may not grow beyond {limit} bytes"
        if not os.access(file, os.W_OK):
            return f"{file} cannot be written"
        with tempfile.TemporaryFile(dir=os.path.dirname(file)) as probe:
            probe.write(os.urandom(ROOM_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return str(error)
    return None
