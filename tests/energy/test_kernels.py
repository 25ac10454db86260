"""The fused scan of codes against torch, in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from energy_plugin.energy.codec import codes, kernels
from energy_plugin.errors import InvalidInputError

pytest.importorskip("triton")

COMPARE = """
import sys
sys.path[:0] = {path!r}
from test_kernels import made
from energy_plugin.energy.codec import kernels
import numpy as np
for bits in (1, 2, 4, 8):
    for n, dim in ((130, 11),):
        given = made(n, dim, bits)
        a, b = kernels.plain(*given, 10), kernels.fused(*given, 10)
        np.testing.assert_allclose(a[0].numpy(), b[0].numpy(), rtol=1e-4, atol=1e-5)
        assert (a[1] == b[1]).all(), (bits, n, dim)
print("same")
"""


def made(n, dim, bits):
    rng = np.random.default_rng(n + bits)
    anchors = rng.standard_normal((5, dim)).astype(np.float32)
    residual = 0.3 * rng.standard_normal((n, dim)).astype(np.float32)
    code = codes.encode(torch.from_numpy(residual), bits)
    return (
        torch.from_numpy(rng.standard_normal(dim).astype(np.float32)),
        torch.from_numpy(anchors),
        torch.from_numpy(rng.integers(0, 5, n).astype(np.int32)),
        torch.from_numpy(code),
    )


def test_the_interpreted_kernel_says_what_torch_says():
    """In a process of its own: Triton reads the variable when it is imported."""
    script = COMPARE.format(path=[os.path.dirname(__file__)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=False,
        timeout=300,
    )
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_the_plain_scan_is_the_decoded_product():
    query, anchors, cell, code = made(50, 24, 4)
    rows = anchors[cell.long()] + torch.from_numpy(codes.decode(code.numpy(), 24))
    scores, places = kernels.plain(query, anchors, cell, code, 5)
    expected = (rows @ query).topk(5)
    torch.testing.assert_close(scores, expected.values)
    assert torch.equal(places, expected.indices)


def test_what_the_kernel_cannot_scan_is_refused():
    query, anchors, cell, code = made(10, 16, 2)
    for k in (0, 17):
        with pytest.raises(InvalidInputError, match="k must lie"):
            kernels.plain(query, anchors, cell, code, k)
    mixed = code.clone()
    mixed[3, 0] = 1
    with pytest.raises(InvalidInputError, match="by themselves"):
        kernels.plain(query, anchors, cell, mixed, 3)


@pytest.mark.gpu
def test_the_kernel_on_cuda():
    for bits in (1, 2, 4, 8):
        given = [tensor.cuda() for tensor in made(5000, 64, bits)]
        a, b = kernels.plain(*given, 10), kernels.fused(*given, 10)
        torch.testing.assert_close(a[0], b[0], rtol=1e-4, atol=1e-4)
        assert torch.equal(a[1], b[1])
