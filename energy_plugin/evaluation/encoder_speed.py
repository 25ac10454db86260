"""Speed of the encoders: the full one against transformers', the compact one on texts."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from energy_plugin.evaluation.peer_encoder import peer, published_file, seeded_weights
from energy_plugin.optical import DeepEncoder, DeepEncoderConfig, OpticalEncoder
from energy_plugin.optical.modes import as_mode
from energy_plugin.validation import as_device, as_k


def machine() -> dict[str, Any]:
    """What a measurement depends on besides the code."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    clock, cpu = time.perf_counter(), time.process_time()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - clock, time.process_time() - cpu


def full_speed(
    mode: str = "tiny",
    *,
    batch: int = 4,
    rounds: int = 5,
    device: str | None = None,
    config: Any = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Pages a second of the full encoder in bfloat16, and of transformers' one by one.

    Weights are seeded, of the published sizes; both read the same pages, taking turns, in
    this process. transformers' implementation gets one image at a time, as the published
    code does.

    Parameters
    ----------
    mode : {"tiny", "small", "base", "large"}, default="tiny"
    batch : int, default=4
        Pages of a forward pass of ours.
    rounds : int, default=5
    device : str, optional
    config : FullConfig, optional
        The published sizes unless given.
    seed : int, default=0
        Of weights and pages.

    Returns
    -------
    dict
        Medians over the rounds, by the clock and in processor seconds, and their ratios;
        the relative L2 between both outputs.
    """
    batch, rounds = as_k(batch, name="batch"), as_k(rounds, name="rounds")
    place, side = as_device(device), as_mode(mode).base
    config = config or DeepEncoderConfig.full()
    tensors = {key: value.bfloat16() for key, value in seeded_weights(config, seed).items()}
    with tempfile.TemporaryDirectory() as folder:
        published_file(Path(folder), tensors)
        theirs = peer(Path(folder), config, torch.bfloat16).to(place)
    ours = DeepEncoder.from_state_dict(tensors, dtype=torch.bfloat16).to(place)
    del tensors
    generator = torch.Generator().manual_seed(seed)
    pages = (torch.rand(batch, 3, side, side, generator=generator) * 2 - 1).to(place).bfloat16()

    def one_by_one() -> list[torch.Tensor]:
        found = [theirs.get_image_features(page[None]).pooler_output[0] for page in pages]
        return found

    def together() -> torch.Tensor:
        return ours.arrange(ours(pages))

    def alone() -> list[torch.Tensor]:
        return [ours.arrange(ours(page[None]))[0] for page in pages]

    runs = {"transformers, one by one": one_by_one, "batch": together, "one by one": alone}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    with torch.inference_mode():
        wanted, got = torch.stack(one_by_one()).float(), together().float()
        alone()
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(_timed(run, place))
    clock = {name: statistics.median(t[0] for t in times) for name, times in seconds.items()}
    cpu = {name: statistics.median(t[1] for t in times) for name, times in seconds.items()}
    base = "transformers, one by one"
    return {
        "mode": mode,
        "batch": batch,
        "rounds": rounds,
        "device": str(place),
        "dtype": "bfloat16",
        "relative_l2": float((got - wanted).norm() / wanted.norm()),
        "pages_per_second": {name: batch / value for name, value in clock.items()},
        "cpu_seconds_per_page": {name: value / batch for name, value in cpu.items()},
        "ratio": {name: clock[base] / clock[name] for name in ("batch", "one by one")},
        "ratio_cpu": {name: cpu[base] / cpu[name] for name in ("batch", "one by one")},
        "rounds_ratio": [a[0] / b[0] for a, b in zip(seconds[base], seconds["batch"], strict=True)],
    }


def texts_of(documents: Sequence[str], count: int, characters: int, seed: int = 0) -> list[str]:
    """Texts of about so many characters, from random places in a run of documents."""
    words = " ".join(documents).split()
    starts = np.random.default_rng(seed).integers(len(words), size=count).tolist()
    words += words[:characters]  # the last place has words behind it, too
    return [" ".join(words[row : row + characters])[:characters].strip() for row in starts]


def compact_speed(
    documents: Sequence[str],
    *,
    short: int = 1024,
    passages: int = 256,
    rounds: int = 3,
    dtype: str = "bfloat16",
    device: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Texts a second of the bundled encoder, typesetting included.

    Parameters
    ----------
    documents : sequence of str
        What the texts are cut from. Words that come again are read once a call, so that
        their variety counts.
    short, passages : int
        Texts of 60 characters, and of 1,000, of a round; each round has new ones.
    """
    encoder = OpticalEncoder.from_pretrained(device=device, dtype=dtype)
    encoder.encode(texts_of(documents, 32, 300, seed))  # first calls are slower
    out: dict[str, Any] = {"dtype": dtype, "device": str(encoder.device), "rounds": rounds}
    for name, count, length in (("short_texts", short, 60), ("passages", passages, 1000)):
        times = []
        for number in range(rounds):
            texts = texts_of(documents, count, length, seed + 1 + number)
            times.append(_timed(partial(encoder.encode, texts), encoder.device))
        out[f"{name}_per_second"] = count / statistics.median(t[0] for t in times)
        out[f"{name}_per_cpu_second"] = count / statistics.median(t[1] for t in times)
        out[f"{name}_characters"] = length
    return out
