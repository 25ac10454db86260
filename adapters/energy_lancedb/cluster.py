"""Fragments mapped on a Ray cluster."""

from __future__ import annotations

import logging
from typing import Any

from energy_lancedb.fragments import MapJob, map_fragment
from energy_plugin._lazy import optional

RETRIES = 5  # of a fragment whose worker died

log = logging.getLogger(__name__)


def run_on_ray(job: MapJob, numbers: list[int]) -> list[tuple[Any, Any]]:
    """Map fragments as tasks of the Ray cluster that is connected, or of a local one.

    A task whose worker dies runs again elsewhere; the file that it left belongs to no version
    of the table and goes with LanceDB's own cleaning.

    Raises
    ------
    OptionalDependencyError
        Ray is not installed.
    """
    ray = optional("ray", "ray")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    log.info("mapping %d fragments on Ray: %s", len(numbers), ray.cluster_resources())
    task = ray.remote(max_retries=RETRIES)(energy_fragment)
    shared = ray.put(job)
    found: list[tuple[Any, Any]] = ray.get([task.remote(shared, number) for number in numbers])
    return found


def energy_fragment(job: MapJob, number: int) -> tuple[Any, Any]:
    """One task; its name is what Ray shows of it."""
    return map_fragment(job, number)
