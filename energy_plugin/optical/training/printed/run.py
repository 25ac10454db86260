"""Training of the recogniser of print: one schedule, resumable, on CPU and CUDA."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.printed import decoding, files
from energy_plugin.optical.printed.alphabet import BLANK, decoded
from energy_plugin.optical.printed.recogniser import (
    COLUMNS_A_FRAME,
    COLUMNS_AN_ANSWER,
    STRIP_ROWS,
    Recogniser,
    RecogniserConfig,
)
from energy_plugin.optical.training.printed.schedule import PrintConfig
from energy_plugin.optical.training.printed.shards import HELD_OUT_SHARD, LineShard, LineShards
from energy_plugin.validation import as_device

WARM_MINUTES = 1.0
HELD_OUT_LINES = 600


def batches(
    shard: LineShard, columns: int, rng: np.random.Generator | None
) -> Iterator[tuple[Tensor, list[NDArray[np.int64]], list[int]]]:
    """Lines of about equal width together: strips (B, 24, W), their codes and widths.

    With a generator in random order, moved, paled and roughened a little.
    """
    order = np.argsort(shard.widths, kind="stable")
    starts = np.concatenate([[0], np.cumsum(shard.widths)])
    firsts = np.concatenate([[0], np.cumsum(shard.lengths)])
    groups: list[list[int]] = [[]]
    for row in order:
        if (len(groups[-1]) + 1) * shard.widths[row] > columns and groups[-1]:
            groups.append([])
        groups[-1].append(int(row))
    if rng is not None:
        rng.shuffle(groups)
    for group in groups:
        widest = max(int(shard.widths[row]) for row in group)
        strips = np.zeros((len(group), STRIP_ROWS, widest), np.float32)
        for place, row in enumerate(group):
            strip = shard.strips[:, starts[row] : starts[row + 1]]
            if rng is not None:
                strip = np.roll(strip, int(rng.integers(-1, 2)), axis=0)
            strips[place, :, : strip.shape[1]] = strip
        strips /= 255
        if rng is not None:
            strips *= rng.uniform(0.75, 1.15, (len(group), 1, 1)).astype(np.float32)
            strips += rng.standard_normal(strips.shape, np.float32) * np.float32(
                rng.uniform(0, 0.05)
            )
            np.clip(strips, 0, 1, out=strips)
        codes = [shard.codes[firsts[row] : firsts[row + 1]] for row in group]
        yield torch.from_numpy(strips), codes, [int(shard.widths[row]) for row in group]


def distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Edits between two sequences (Levenshtein, 1966)."""
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
        before = row
    return before[-1]


@torch.inference_mode()
def accuracy(model: nn.Module, shard: LineShard, device: torch.device) -> dict[str, float]:
    """Share of characters, by edits, and of words in their order that are read right."""
    wrong = characters = right = words = 0
    for strips, codes, widths in batches(shard, 30000, None):
        answers = [width // COLUMNS_AN_ANSWER for width in widths]
        for found, code in zip(
            decoding.best(model(strips.to(device)).float(), answers), codes, strict=True
        ):
            text = "".join(decoded(int(each)) for each in code)
            wrong += distance(found.text, text)
            characters += len(text)
            wanted = text.split()
            right += max(0, len(wanted) - distance(found.text.split(), wanted))
            words += len(wanted)
    return {"characters": 1 - wrong / characters, "words": right / words}


class PrintTraining:
    """One training in a folder, which resumes when called again.

    Parameters
    ----------
    corpus : Path
        Folder of training text.
    fonts : sequence of Path
        Folders of typefaces.
    work : Path
        Shards, state, log and weights.
    config : PrintConfig
    processes : int, default=1
        That set lines ahead.
    device : str, optional
    rank, trainers : int, default=0, 1
        Which of how many processes that share each step this is; the gradients of all are
        averaged over gloo.
    """

    def __init__(
        self,
        corpus: Path,
        fonts: Sequence[Path],
        work: Path,
        config: PrintConfig,
        *,
        processes: int = 1,
        device: str | None = None,
        rank: int = 0,
        trainers: int = 1,
    ) -> None:
        self.work, self.config = work, config
        self.rank, self.trainers = rank, trainers
        self.device = as_device(device)
        work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = Recogniser(
            RecogniserConfig(config.stem[:2], config.width, config.dilations),  # type: ignore[arg-type]
            normalised=True,
        ).to(self.device)
        self.average = Recogniser(self.model.config, normalised=True).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.rate, weight_decay=config.decay
        )
        self.state = {"shard": 0, "step": 0, "minutes": 0.0}
        if (work / "state.json").exists():
            self._resume()
        arguments: dict[str, object] = {
            "corpus": corpus,
            "fonts": tuple(fonts),
            "held_out": config.held_out,
            "lines": config.shard_lines,
            "shortest": config.shortest,
            "longest": config.longest,
            "seed": config.seed,
        }
        self.shards = LineShards(work / "lines", arguments, 0 if rank else processes)
        if trainers > 1:
            meeting = (work / "meeting").absolute()
            distributed.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=rank, world_size=trainers
            )

    def run(self) -> Path:
        """Train until the budget is used up.

        Returns
        -------
        Path
            The weights.
        """
        try:
            held = self.shards.load(HELD_OUT_SHARD)
            held = _first(held, HELD_OUT_LINES)
            while self.state["minutes"] < self.config.minutes:
                self._shard(held)
        finally:
            self.shards.close()
        return self.work / files.NAME

    def _shard(self, held: LineShard) -> None:
        number = int(self.state["shard"])
        shard = self.shards.load(number, self._longest(number))
        for later in range(number + 1, number + 2 + self.shards.ahead):
            self.shards.ask(later, self._longest(later))
        began, minutes = time.monotonic(), self.state["minutes"]
        losses = []
        for use in range(self.config.uses):
            rng = np.random.default_rng([self.config.seed, number, use])
            own = list(batches(shard, self.config.batch_columns, rng))
            for strips, codes, widths in own[self.rank : self._even(own) : self.trainers]:
                spent = minutes + (time.monotonic() - began) / 60
                losses.append(self._step(strips, codes, widths, spent))
        self.state["shard"] = number + 1
        if self.rank:
            return
        record = {
            **self.state,
            "loss": float(np.mean(losses)),
            **accuracy(self.average, held, self.device),
        }
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        self._save()
        self.shards.drop(number)

    def _even(self, items: list[Any]) -> int:
        """How many of the items all processes can share evenly."""
        return len(items) // self.trainers * self.trainers

    def _shared(self, minutes: float) -> float:
        """Average the gradients of all processes, and their minutes."""
        if self.trainers == 1:
            return minutes
        held = [parameter.grad for parameter in self.model.parameters()]
        grads = [grad for grad in held if grad is not None]
        flat = torch.cat([*(grad.flatten().cpu() for grad in grads), torch.tensor([minutes])])
        distributed.all_reduce(flat)
        flat /= self.trainers
        start = 0
        for grad in grads:
            grad.copy_(flat[start : start + grad.numel()].view_as(grad))
            start += grad.numel()
        return float(flat[-1])

    def _longest(self, number: int) -> int | None:
        return self.config.first_longest if number < self.config.first_shards else None

    def _rate(self, minutes: float) -> float:
        warm = min(1.0, 0.02 + minutes / min(WARM_MINUTES, self.config.minutes / 4))
        return self.config.rate * warm * _cosine(minutes / self.config.minutes)

    def _step(
        self,
        strips: Tensor,
        codes: list[NDArray[np.int64]],
        widths: list[int],
        minutes: float,
    ) -> float:
        self.model.train()
        logits = self.model(strips.to(self.device))
        answers = torch.tensor([-(-w // COLUMNS_A_FRAME) * 2 for w in widths])
        loss = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            torch.from_numpy(np.concatenate(codes)).to(self.device),
            answers,
            torch.tensor([len(each) for each in codes]),
            blank=BLANK,
            zero_infinity=True,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.state["minutes"] = self._shared(minutes)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.state["minutes"])
        nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimizer.step()
        self.state["step"] += 1
        kept = min(self.config.average, self.state["step"] / (self.state["step"] + 10))
        with torch.no_grad():
            for mean, value in zip(
                self.average.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - kept)
        return float(loss.detach())

    def _save(self) -> None:
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for kind, held in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{kind}/{name}"] = held
        path = self.work / f"state-{self.state['shard']}.safetensors"
        save_file({key: value.detach().contiguous() for key, value in tensors.items()}, path)
        files.save(self.average.folded(), self.work / files.NAME)
        part = self.work / "state.json.part"
        part.write_text(
            json.dumps({"file": path.name, "config": asdict(self.config), **self.state}, indent=1),
            encoding="utf-8",
        )
        os.replace(part, self.work / "state.json")
        for old in self.work.glob("state-*.safetensors"):
            if old != path:
                old.unlink()

    def _resume(self) -> None:
        try:
            record = json.loads((self.work / "state.json").read_text(encoding="utf-8"))
            tensors = load_file(self.work / record["file"])
            self.state = {name: record[name] for name in self.state}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InvalidInputError(
                f"{self.work / 'state.json'} is damaged ({error!r}); name another work folder"
            ) from error
        for prefix, model in (("model", self.model), ("average", self.average)):
            model.load_state_dict(
                {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{prefix}/")}
            )
        for name, parameter in self.model.named_parameters():
            if f"step/{name}" in tensors:
                self.optimizer.state[parameter] = {
                    kind: tensors[f"{kind}/{name}"].to("cpu" if kind == "step" else self.device)
                    for kind in ("step", "exp_avg", "exp_avg_sq")
                }


def _cosine(share: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _first(shard: LineShard, lines: int) -> LineShard:
    columns, characters = shard.widths[:lines].sum(), shard.lengths[:lines].sum()
    return LineShard(
        shard.strips[:, :columns],
        shard.widths[:lines],
        shard.lengths[:lines],
        shard.codes[:characters],
    )
