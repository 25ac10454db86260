"""Published key names of the encoder's weights, and ours.

The classes are shared with the compact encoder, so some parts have other names inside.
Files and `state_dict` speak the published ones.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

_BLOCK = re.compile(r"(.*(?:sam_model\.blocks|vision_model\.transformer\.layers)\.\d+\.)(.*)")
_SAM_PARTS = (
    ("norm1.", "layer_norm1."),
    ("norm2.", "layer_norm2."),
    ("attn.qkv.", "self_attn.qkv_proj."),
    ("attn.proj.", "self_attn.out_proj."),
    ("attn.rel_pos_", "self_attn.rel_pos_"),
    ("mlp.lin1.", "fc1."),
    ("mlp.lin2.", "fc2."),
)
_CLIP_PARTS = (("mlp.fc1.", "fc1."), ("mlp.fc2.", "fc2."))
_PROJECTOR = ("projector.layers.", "projector.")


def _renamed(key: str, here: int) -> str:
    """A key with the `here`-th of each pair's names replaced by the other."""
    block = _BLOCK.fullmatch(key)
    if block is None:
        old, new = _PROJECTOR[here], _PROJECTOR[1 - here]
        head, found, tail = key.rpartition(old)
        return f"{head}{new}{tail}" if found and "." not in tail else key
    stem, part = block.groups()
    for pair in _SAM_PARTS if "sam_model." in stem else _CLIP_PARTS:
        if part.startswith(pair[here]):
            return stem + pair[1 - here] + part.removeprefix(pair[here])
    return key


def ours(published: str) -> str:
    """Name inside `FullEncoder` of a published key."""
    return _renamed(published, 0)


def published(ours: str) -> str:
    """Published key of a name inside `FullEncoder`."""
    return _renamed(ours, 1)


def _rename(state_dict: dict[str, Tensor], prefix: str, here: int) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[prefix + _renamed(key.removeprefix(prefix), here)] = state_dict.pop(key)


def rename_published(_: Any, state_dict: dict[str, Tensor], prefix: str, *__: Any) -> None:
    """Give a state dict the published names; a hook of `torch.nn.Module`."""
    _rename(state_dict, prefix, 1)


def rename_for_us(state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give a state dict the names inside; a hook of `torch.nn.Module`."""
    _rename(state_dict, prefix, 0)
