"""A narrow published checkpoint with a decoder, and the whole model as `transformers` runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from energy_plugin.optical.decoder import vision_config
from support.deepencoder_oracle import NARROW, seeded_weights

WORDS = ("[BEGIN]", "[END]", "[UNK]", "<image>", "Free", "OCR.", *(f"w{i}" for i in range(90)))
IMAGE_ID = WORDS.index("<image>")
TEXT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": NARROW.projector,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 10,
    "num_key_value_heads": 10,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def whole_model(window: int | None, seed: int = 0) -> Any:
    """The published network, narrow, with seeded weights of the decoder; the encoder's follow."""
    import transformers

    attention = {"sliding_window": window} if window else {"layer_types": ["full_attention"] * 3}
    config = transformers.UnlimitedOcrConfig(
        vision_config=vision_config(NARROW),
        text_config={**TEXT, **attention},
        image_token_id=IMAGE_ID,
    )
    torch.manual_seed(seed)
    model = transformers.UnlimitedOcrForConditionalGeneration(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "language_model" in name or name.startswith("lm_head"):
                drawn = torch.randn(value.shape) * (0.3 if value.ndim > 1 else 0.1)
                value.copy_(drawn + (value.ndim == 1))
    return model.eval()


def published_folder(folder: Path, model: Any, window: int | None = None) -> Path:
    """A folder as such checkpoints are published: their names, their config.json."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    model.save_pretrained(folder / "saved")
    tensors = load_file(folder / "saved" / "model.safetensors")
    vision = {f"model.{key}": value for key, value in seeded_weights(NARROW).items()}
    kept = {key: value for key, value in tensors.items() if key not in vision}
    kept = {key: value for key, value in kept.items() if _of_text(key)}
    save_file({**kept, **vision}, folder / "model.safetensors", metadata={"format": "pt"})
    for file in (folder / "saved").iterdir():
        file.unlink()
    (folder / "saved").rmdir()
    settings = {
        "model_type": "deepseek_vl_v2",
        "auto_map": {"AutoModel": "modeling_of_the_folder.Model"},  # code that is not run
        "language_config": TEXT,
        "vision_config": {"model_type": "vision", "width": {}},
        **({"sliding_window": window} if window else {}),
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    words = models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(list(WORDS[:4]))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _of_text(key: str) -> bool:
    return key.startswith(("lm_head.", "model.layers.", "model.embed_tokens.", "model.norm."))
