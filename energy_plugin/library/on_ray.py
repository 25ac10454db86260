"""Files → pages → vectors on a Ray cluster, with Ray Data; whoever asked writes what comes.

Two stages: tasks read files and cut them, actors hold the encoder and embed. Records travel in
small blocks, so that little is on its way when a process dies, and memory stays bounded however
large the collection is.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin._lazy import optional
from energy_plugin.errors import EnergyPluginError
from energy_plugin.library.embedding import Embedded, Embedding
from energy_plugin.library.files.folder import Cutting
from energy_plugin.library.planning import Reading, Stored, Task, read_file

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 64 * 1024  # of records; some 50 passages of 1,000 characters
PICTURE_BYTES = BLOCK_BYTES // 8  # a picture takes as long to embed as many passages
FILES = 16  # of one task that reads
MOST_TASKS = 10_000  # that read
READER, ENCODER = 0.1, 0.9  # of a core, so that each core has one of either
_log = logging.getLogger(__name__)


class RayMap:
    """Reads and embeds files on the Ray cluster that is connected, or on a local one.

    Parameters
    ----------
    embedder : str
        See `energy_plugin.library.embedders.load_embedder`; each worker loads it once.
    ocr : {"rapidocr", "tesseract"}, optional

    Raises
    ------
    OptionalDependencyError
        Ray, or Ray Data's own requirements, are not installed.
    EnergyPluginError
        The cluster that RAY_ADDRESS names does not answer.
    """

    def __init__(self, embedder: str, ocr: str | None = None) -> None:
        self.embedder = embedder
        self.ocr = ocr
        self._ray = optional("ray", "ray")
        self._data = optional("ray.data", "ray")
        if not self._ray.is_initialized():
            self._connect()

    def run(
        self, files: Mapping[str, Path], stored: Mapping[str, Stored], cutting: Cutting
    ) -> Iterator[tuple[list[Reading], list[Embedded]]]:
        """Read files and embed what the store lacks, block by block in the order of completion.

        A block whose worker dies is embedded again by another one.

        Parameters
        ----------
        files : mapping of str to Path
            By name; every worker reads them at these paths.
        stored : mapping of str to Stored
            What the store has of them.
        cutting : Cutting

        Raises
        ------
        EnergyPluginError
            A worker cannot read or load what it needs.
        """
        if not files:
            return
        cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        _log.info("reading and embedding %d files on Ray, %d cores", len(files), cores)
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # what fails is raised
        vectors = self._mapped(files, stored, cutting, cores)
        try:
            for block in vectors.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield _unpacked(block)
        except self._ray.exceptions.RayError as error:
            raise EnergyPluginError(
                f"The map on Ray ended early: {_reason(error)}. All rows embedded "
                "so far are stored; run the same command again to resume."
            ) from error

    def _connect(self) -> None:
        """Connect to the cluster of RAY_ADDRESS, or start one of this machine's cores."""
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails is raised
        try:
            self._ray.init(
                include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EnergyPluginError(
                f"Ray cannot be reached: {_reason(error)}. Check RAY_ADDRESS; without it, Ray "
                "starts on this machine."
            ) from error

    def _mapped(
        self,
        files: Mapping[str, Path],
        stored: Mapping[str, Stored],
        cutting: Cutting,
        cores: int,
    ) -> Any:
        tasks = min(-(-len(files) // FILES), MOST_TASKS)
        requests = [_request(source, path, stored.get(source)) for source, path in files.items()]
        given = self._data.from_items(requests, override_num_blocks=tasks)
        for name, value in {
            "target_max_block_size": BLOCK_BYTES,
            "enable_progress_bars": False,
            "print_on_execution_start": False,
        }.items():
            setattr(given.context, name, value)
        records = given.map_batches(
            _read,
            fn_kwargs={"cutting": asdict(cutting)},
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=READER,
        )
        return records.map_batches(
            EnergyEncoder,
            fn_constructor_args=(self.embedder, self.ocr),
            batch_size=None,
            batch_format="pyarrow",
            compute=self._data.ActorPoolStrategy(min_size=1, max_size=cores),
            num_cpus=ENCODER,
        )


class EnergyEncoder:
    """An actor of the cluster; its name is what Ray shows of it."""

    def __init__(self, embedder: str, ocr: str | None) -> None:
        from energy_plugin.library.embedders import load_embedder
        from energy_plugin.library.ocr import load_ocr

        found = load_embedder(embedder)
        found.ocr = None if ocr is None else load_ocr(ocr)
        self._embedding = Embedding(found)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Give the records of tasks their vectors; those of files pass."""
        import pyarrow as pa

        records = block["record"].to_pylist()
        files = [record for record in records if not _is_task(record)]
        done = self._embedding.embed([Task.from_json(r[1:]) for r in records if _is_task(r)])
        return pa.table(
            {
                "record": pa.array(
                    [*files, *(_packed(each.task) for each in done)], pa.large_binary()
                ),
                "vector": pa.array(
                    [b""] * len(files)
                    + [b"" if each.vector is None else each.vector.tobytes() for each in done],
                    pa.large_binary(),
                ),
                "reason": pa.array([""] * len(files) + [each.reason for each in done], pa.string()),
            }
        )


def _request(source: str, path: Path, before: Stored | None) -> dict[str, bytes]:
    known = None
    if before is not None:
        known = [before.sha256, before.parts, sorted(before.present)]
    return {"request": json.dumps([source, str(path), known]).encode("ascii")}


def _read(block: pa.Table, cutting: dict[str, int]) -> Iterator[pa.Table]:
    """Records of files and of their parts: requests are answered one by one."""
    import pyarrow as pa

    for request in block["request"].to_pylist():
        source, path, known = json.loads(request)
        before = None if known is None else Stored(known[0], known[1], set(known[2]))
        reading = read_file(Path(path), source, before, Cutting(**cutting))
        head = json.dumps(asdict(replace(reading, tasks=[])))
        records = [b"f" + head.encode("ascii"), *(_packed(task) for task in reading.tasks)]
        yield pa.table({"record": pa.array(records, pa.large_binary())})


def _packed(task: Task) -> bytes:
    record = b"t" + task.to_json().encode("ascii")
    return record.ljust(PICTURE_BYTES) if task.row.picture and not task.row.text else record


def _is_task(record: bytes) -> bool:
    return record[:1] == b"t"


def _unpacked(block: pa.Table) -> tuple[list[Reading], list[Embedded]]:
    readings, done = [], []
    for row in block.to_pylist():
        record = row["record"]
        if _is_task(record):
            vector = np.frombuffer(row["vector"], dtype=np.float32) if row["vector"] else None
            done.append(Embedded(Task.from_json(record[1:]), vector, row["reason"]))
        else:
            readings.append(Reading(**json.loads(record[1:])))
    return readings, done


def _reason(error: BaseException) -> str:
    """The last line of what Ray says, where the worker's own error stands."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else type(error).__name__
