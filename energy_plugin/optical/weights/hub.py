"""The encoder's part of a model on the Hugging Face Hub, by byte ranges.

The head of a safetensors file says where each tensor lies, so that 0.8 GB of a published
model of 6.7 GB are enough. What is fetched is kept as an encoder-only safetensors file.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from energy_plugin._lazy import optional
from energy_plugin.errors import CheckpointError
from energy_plugin.optical.weights.files import DAMAGE, INDEX, SINGLE, is_plain
from energy_plugin.optical.weights.published import check_shapes, vision_key

CHUNK = 16 << 20  # bytes of one request
ABANDONED_SECONDS = 86_400  # after which nobody writes to an unfinished file any more
LARGEST_HEAD = 100_000_000  # bytes; the limit of the safetensors format
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE = "encoder.safetensors"

log = logging.getLogger(__name__)
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # of a weight


@dataclass(frozen=True)
class _Remote:
    """A file on the hub."""

    url: str
    size: int
    commit: str


@dataclass(frozen=True)
class _Tensor:
    key: str
    head: dict[str, Any]  # dtype and shape
    file: _Remote
    start: int  # in the file
    stop: int


def fetch(
    repository: str,
    *,
    revision: str = "main",
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    endpoint: str | None = None,
    show_progress_bar: bool = False,
) -> Path:
    """Encoder-only file of a repository, from the cache where it is there.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, default="main"
        Branch, tag or commit.
    cache_dir : str or Path, optional
        ``energy-plugin`` in the folder of the Hugging Face cache unless given.
    local_files_only : bool, default=False
        Ask no server.
    endpoint : str, optional
        Server; that of huggingface_hub unless given.
    show_progress_bar : bool, default=False

    Raises
    ------
    CheckpointError
        Not in the cache and not to be had; or the repository has no such encoder.
    """
    hub = _library()
    home = Path(cache_dir) if cache_dir else Path(hub.constants.HF_HOME) / "energy-plugin"
    home = home / repository.replace("/", "--")
    known = home / "refs" / re.sub(r"[^\w.-]", "-", revision)
    commit = revision if _COMMIT.fullmatch(revision) else ""
    if not commit and known.is_file():
        commit = known.read_text("ascii").strip()
    cached = home / commit / _FILE if commit else None
    have = cached is not None and cached.is_file()
    if local_files_only or (have and commit == revision):
        if cached is None or not have:
            raise CheckpointError(
                f"no encoder of {repository!r} at {revision!r} in the cache {home.parent}; "
                "call once with local_files_only=False, or name a local file"
            )
        return cached
    try:
        target, commit = _fetched(
            hub,
            repository,
            revision,
            home,
            endpoint=endpoint,
            show_progress_bar=show_progress_bar,
        )
    except _network_errors(hub) as error:
        if cached is not None and have and not isinstance(error, hub.errors.HfHubHTTPError):
            return cached  # no network, but what was fetched before
        raise CheckpointError(
            f"cannot fetch the encoder of {repository!r} at {revision!r}: {error}. No encoder at "
            f"{repository!r} if that was meant to be a local file or folder"
        ) from error
    _note(known, commit)
    return target


def _library() -> Any:
    """huggingface_hub with the parts that are used here: it imports none of them by itself."""
    for part in ("constants", "errors", "utils"):
        optional(f"huggingface_hub.{part}", "hub")
    return optional("huggingface_hub", "hub")


def _note(known: Path, commit: str) -> None:
    """Remember which commit a revision was; without that, the next call asks the server."""
    try:
        if not known.is_file() or known.read_text("ascii").strip() != commit:
            known.parent.mkdir(parents=True, exist_ok=True)
            part = known.with_name(f"{known.name}.{os.getpid()}.part")
            part.write_text(commit, "ascii")
            os.replace(part, known)
    except OSError as error:
        log.warning("cannot write %s (%s): the next call needs the server again", known, error)


def _network_errors(hub: Any) -> tuple[type[Exception], ...]:
    """What huggingface_hub and its HTTP library raise when there is no connection."""
    client = type(hub.utils.get_session())
    module = optional(client.__module__.partition(".")[0])
    return (OSError, hub.errors.HfHubHTTPError, module.HTTPError)


def _fetched(
    hub: Any,
    repository: str,
    revision: str,
    home: Path,
    *,
    endpoint: str | None,
    show_progress_bar: bool,
) -> tuple[Path, str]:
    def remote(name: str, at: str) -> _Remote:
        url = hub.hf_hub_url(repository, name, revision=at, endpoint=endpoint)
        found = hub.get_hf_file_metadata(url, endpoint=endpoint)
        if found.size is None or not (found.commit_hash or found.etag):
            raise CheckpointError(f"{url} has no size or version; it cannot be read in parts")
        commit = str(found.commit_hash or found.etag).strip('"')
        if not is_plain(commit):  # it becomes the name of a folder
            raise CheckpointError(f"{url} has the version {commit!r}, which is not a commit")
        return _Remote(url, int(found.size), commit)

    try:
        index = remote(INDEX, revision)
        if index.size > LARGEST_HEAD:
            raise ValueError(f"it has {index.size} bytes")
        where = json.loads(_read(hub, index, 0, index.size))["weight_map"]
        names = sorted({file for key, file in where.items() if vision_key(key)})
        if not all(is_plain(name) for name in names):
            raise ValueError(f"it names {names}")
        commit = index.commit
        files = [remote(name, commit) for name in names]
    except hub.errors.EntryNotFoundError:
        files = [remote(SINGLE, revision)]
        commit = files[0].commit
    except DAMAGE as error:
        raise CheckpointError(f"{INDEX} of {repository!r} is damaged: {error!r}") from error
    target = home / commit / _FILE
    if not target.is_file():
        tensors = [tensor for file in files for tensor in _tensors(hub, file)]
        shapes = {vision_key(tensor.key) or "": tuple(tensor.head["shape"]) for tensor in tensors}
        _, used = check_shapes(shapes, f"{repository!r} at {revision!r}")
        tensors = [tensor for tensor in tensors if vision_key(tensor.key) in used]
        _assemble(hub, tensors, target, show_progress_bar)
    return target, commit


def _read(hub: Any, file: _Remote, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file; a server that sends another part is refused."""
    headers = {**hub.utils.build_hf_headers(), "Range": f"bytes={start}-{stop - 1}"}
    answer = hub.utils.http_backoff("GET", file.url, headers=headers)
    hub.utils.hf_raise_for_status(answer)
    data: bytes = answer.content
    part = answer.headers.get("Content-Range", "")
    if part and not part.startswith(f"bytes {start}-{stop - 1}/"):
        raise CheckpointError(
            f"{file.url} answered with {part!r} to a request for bytes {start} to {stop - 1}. "
            "Try again, or download the repository and name its folder"
        )
    if len(data) != stop - start or (answer.status_code != 206 and stop - start < file.size):
        raise CheckpointError(
            f"{file.url} answered {answer.status_code} with {len(data)} bytes to a request for "
            f"bytes {start} to {stop}: the server does not serve byte ranges. Download the "
            "repository and name its folder"
        )
    return data


def _tensors(hub: Any, file: _Remote) -> Iterator[_Tensor]:
    """The encoder's tensors of a remote safetensors file, in the order of the file."""
    try:
        length = int.from_bytes(_read(hub, file, 0, 8), "little")
        if not 2 <= length <= min(LARGEST_HEAD, file.size - 8):
            raise ValueError(f"a head of {length} bytes")
        packed = _read(hub, file, 8, 8 + length)
    except ValueError as error:
        raise CheckpointError(f"{file.url} is not a safetensors file: {error!r}") from error
    return iter(_placed(packed, file))


def _placed(packed: bytes, file: _Remote) -> list[_Tensor]:
    """The encoder's tensors that the head of a safetensors file names."""
    length = len(packed)
    try:
        head = json.loads(packed)
        found = []
        for key, entry in head.items():
            if not vision_key(key):
                continue
            start, stop = (8 + length + int(offset) for offset in entry["data_offsets"])
            if not 8 + length <= start <= stop <= file.size:
                raise ValueError(f"{key} is at {start} to {stop}")
            kept = {"dtype": entry["dtype"], "shape": entry["shape"]}
            if math.prod(_shape(kept["shape"])) * _BYTES[kept["dtype"]] != stop - start:
                raise ValueError(f"{key} of shape {kept['shape']} has {stop - start} bytes")
            found.append(_Tensor(key, kept, file, start, stop))
        found.sort(key=lambda tensor: tensor.start)
        for one, other in pairwise(found):
            if other.start < one.stop:
                raise ValueError(f"{one.key} and {other.key} overlap")
    except DAMAGE as error:
        raise CheckpointError(f"{file.url} is not a safetensors file: {error!r}") from error
    return found


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(values)
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"a shape is {values!r}")
    return shape


def _assemble(hub: Any, tensors: list[_Tensor], target: Path, show_progress_bar: bool) -> None:
    """Fetch tensors into one safetensors file, which appears whole or not at all."""
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        size = tensor.stop - tensor.start
        head[tensor.key] = {**tensor.head, "data_offsets": [offset, offset + size]}
        offset += size
    packed = json.dumps(head).encode()
    packed += b" " * (-len(packed) % 8)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    for left in target.parent.glob(f"{target.name}.*.part"):  # of processes that were killed
        if left.stat().st_mtime < time.time() - ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    try:
        with (
            part.open("wb") as out,
            tqdm(
                total=offset,
                unit="B",
                unit_scale=True,
                desc="Weights",
                disable=not show_progress_bar,
            ) as bar,
        ):
            out.write(len(packed).to_bytes(8, "little") + packed)
            for file, start, stop in _runs(tensors):
                for at in range(start, stop, CHUNK):
                    bar.update(out.write(_read(hub, file, at, min(at + CHUNK, stop))))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _runs(tensors: list[_Tensor]) -> Iterator[tuple[_Remote, int, int]]:
    """Ranges of tensors that follow each other, joined."""
    run: tuple[_Remote, int, int] | None = None
    for tensor in tensors:
        if run and run[0] == tensor.file and run[2] == tensor.start:
            run = (run[0], run[1], tensor.stop)
            continue
        if run:
            yield run
        run = (tensor.file, tensor.start, tensor.stop)
    if run:
        yield run
