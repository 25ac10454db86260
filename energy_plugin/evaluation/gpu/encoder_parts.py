"""The encoders: vectors beside those of the CPU, pages a second, training steps a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from energy_plugin.errors import CheckpointError, OptionalDependencyError
from energy_plugin.evaluation.encoder_speed import compact_speed, full_speed, texts_of
from energy_plugin.evaluation.gpu.sizes import Sizes
from energy_plugin.evaluation.gpu.timing import seconds
from energy_plugin.evaluation.reference_docs import collect
from energy_plugin.optical import DeepEncoder, OpticalEncoder
from energy_plugin.optical.config import FullConfig
from energy_plugin.optical.modes import as_mode

SMALL = FullConfig(  # narrow and shallow, for a run at toy size
    sam_width=128,
    sam_mlp=192,
    sam_depth=2,
    global_blocks=(1,),
    neck=32,
    compressor=(64, 192),
    width=192,
    mlp=256,
    depth=1,
    projector=80,
)


def documents() -> list[str]:
    """Texts that every machine has: documentation of what is installed."""
    return [doc.text for doc in collect()] or ["Nothing is installed that says anything."]


def equality(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Compact encoder on the device, float32 and bfloat16, beside float32 on the CPU."""
    texts = texts_of(documents(), min(64, sizes.texts), 300)
    own = OpticalEncoder.from_pretrained(device="cpu").encode(texts)
    out: dict[str, Any] = {"texts": len(texts)}
    for dtype in ("float32", "bfloat16"):
        got = OpticalEncoder.from_pretrained(device=device.type, dtype=dtype).encode(texts)
        out[f"least cosine, {dtype}"] = float((own * np.asarray(got)).sum(1).min())
    return out


def compact(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Texts a second, typesetting included."""
    return compact_speed(
        documents(),
        short=sizes.texts,
        passages=max(1, sizes.texts // 4),
        rounds=sizes.rounds,
        dtype="bfloat16",
        device=device.type,
    )


def full(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Full encoder beside transformers' one image at a time, and its share of the card's rate."""
    config = FullConfig() if sizes.full else SMALL
    out: dict[str, Any] = {"mode": sizes.mode, "pages": sizes.pages}
    try:
        if sizes.full:  # a toy says nothing, and transformers takes long to import
            out["peer"] = full_speed(
                sizes.mode, batch=sizes.pages, rounds=sizes.rounds, device=device.type
            )
    except (OptionalDependencyError, CheckpointError) as error:
        out["without peer"] = str(error)
    from energy_plugin.evaluation.peer_encoder import seeded_weights

    tensors = {key: value.bfloat16() for key, value in seeded_weights(config).items()}
    model = DeepEncoder.from_state_dict(tensors, dtype=torch.bfloat16).to(device)
    side = as_mode(sizes.mode).base
    pages = torch.zeros(sizes.pages, 3, side, side, dtype=torch.bfloat16, device=device)
    with torch.inference_mode():
        work = operations(model, pages)
        taken = seconds(lambda: model(pages), device, sizes.rounds)
    rate = matrix_rate(sizes, device)
    return {
        **out,
        "pages_per_second": sizes.pages / taken,
        "operations_per_page": work / sizes.pages,
        "matrix_rate": rate,
        "share of the matrix rate": work / taken / rate,
    }


def operations(model: torch.nn.Module, pages: torch.Tensor) -> int:
    """Floating-point operations of a forward pass, by torch's own count."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(pages)
    return int(counter.get_total_flops())


def matrix_rate(sizes: Sizes, device: torch.device) -> float:
    """Operations a second of a product of large bfloat16 matrices."""
    side = sizes.square
    left, right = (torch.ones(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device, sizes.rounds)


def training(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Pages that training of the compact encoder reads a second: forward, backward, a step."""
    encoder = OpticalEncoder.from_pretrained(device=device.type)
    model = encoder.model.train().requires_grad_(True)
    tiles, count = (64 if sizes.full else 4), min(sizes.texts, 128)  # of a page; pages
    generator = torch.Generator().manual_seed(0)
    lines = torch.randint(0, 256, (4 * tiles, 16, 64), generator=generator, dtype=torch.uint8)
    where = torch.randint(4 * tiles, (count * tiles, 4), generator=generator)
    given = (lines.to(device), where.to(device), torch.full((count,), tiles, device=device))
    wanted = F.normalize(torch.randn(count, model.config.width, generator=generator), dim=1)
    wanted = wanted.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            tokens = model(*given)
        pooled = tokens.float().view(count, tiles, -1).mean(1)
        loss = 1 - F.cosine_similarity(pooled, wanted).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    taken = seconds(step, device, sizes.steps)
    return {"pages": count, "tiles of a page": tiles, "pages_per_second": count / taken}
