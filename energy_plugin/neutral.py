"""A call's own surroundings: what the caller switched on for torch and numpy does not reach in.

========================= =====================================================================
of this thread, set aside modes of gradients and inference, autocast, default device, numpy's
                          treatment of floating-point errors, number of threads
of the whole process      default dtype, deterministic algorithms, warnings: cannot be set aside
                          without a race, so code names the dtype and device of what it makes
========================= =====================================================================

Results and what is cached on the way (tables, decoded rows) are then the same whoever calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from energy_plugin.threads import threads_for


@contextmanager
def neutral() -> Iterator[None]:
    """Set the surroundings aside: a decorator of public functions, or a ``with`` statement."""
    import torch

    with torch.no_grad(), np.errstate(all="ignore"), threads_for():
        inference = torch.is_inference_mode_enabled()
        elsewhere = torch.empty(0, dtype=torch.uint8).device.type != "cpu"  # wherever it lands
        cast = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
        if not (inference or elsewhere or cast):
            yield
            return
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # leaving inference mode turned gradients on
            if elsewhere:
                stack.enter_context(torch.device("cpu"))
            for device in cast:
                stack.enter_context(torch.autocast(device, enabled=False))
            yield
