"""The training run: stages, saving and resuming."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.training import distil
from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.curve import ENCODER, draw_curve
from energy_plugin.optical.training.noise import NOISES
from energy_plugin.optical.training.reading import WordReader, slot_values
from energy_plugin.optical.training.schedule import TrainingConfig
from energy_plugin.optical.training.shards import Shard, ShardStore
from energy_plugin.optical.training.teacher import Teacher
from energy_plugin.optical.training.words import Lexicon, WordMix
from energy_plugin.optical.typesetting.tiles import TYPESETTER_VERSION, Typesetter
from energy_plugin.optical.weights import checkpoint
from energy_plugin.validation import as_device

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
SAVE_STEPS = 500  # of the first stage; the second saves after every shard
WATCHED_WORDS = 4096
POOL_READS = 4  # lines that are read for each word of a pool; a word has two
STAGES = ("words", "texts", "joins")
READING = ("word_cosine", "piece_found")
JOIN_NOISES = (*NOISES, *("spaces",) * 4)


class Run:
    """A training run in a work folder; making it again resumes it.

    Parameters
    ----------
    data : Path
        Folder of training text (see `Corpus`).
    work : Path
        Folder for targets, state and the model; may hold an interrupted run.
    config : TrainingConfig
    teacher : Path, optional
        Folder of the teacher; the installed package unless given.
    encoder : DeepEncoderConfig, optional
        The architecture; `DeepEncoderConfig.compact()` unless given. Its blocks must
        have the teacher's shapes.
    device : str, optional
        Where it trains; the best one there is unless given.
    show_progress_bar : bool, default=True
    """

    def __init__(
        self,
        data: Path,
        work: Path,
        config: TrainingConfig,
        *,
        teacher: Path | None = None,
        encoder: DeepEncoderConfig | None = None,
        device: str | None = None,
        show_progress_bar: bool = True,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.config, self.bar = work, config, show_progress_bar
        self.device = as_device(device)
        torch.manual_seed(config.seed)
        self.corpus = Corpus(data, config.sources, config.passage_characters)
        self.teacher = Teacher(teacher, encoder, self.device)
        self.typesetter = Typesetter()
        encoder = encoder or DeepEncoderConfig.compact()
        if not (encoder.glossary and encoder.registers):
            raise InvalidInputError(
                f"an encoder of {encoder.glossary} slots and {encoder.registers} registers cannot "
                "be trained; expected at least one of each"
            )
        self.model = CompactEncoder(encoder).to(self.device)
        self.state: dict[str, Any] = {
            "stage": "words",
            "step": 0,
            "shard": 0,
            "seconds": 0.0,
            "best": 0.0,
            **dict.fromkeys(READING, 0.0),
        }
        self.optimizer = self._new_optimizer()
        self._own()
        if (work / "state.json").exists():
            self._resume()

    def train(self) -> Path:
        """Run what is left of the stages; returns the path of the model."""
        config = self.config
        if self.state["stage"] == "words":
            self._train_reader(
                config.word_minutes, config.word_rate, self._mix(config.noise, NOISES)
            )
            distil.start_from_teacher(self.model, self.teacher)
            self._enter("texts")
        if self.state["stage"] == "texts":
            self._train_texts()
            self._take_best()
            self._enter("joins")
        if self.state["stage"] == "joins":
            mix = self._mix(config.join_noise, JOIN_NOISES)
            self._train_reader(config.join_minutes, config.join_rate, mix)
            self._finish()
        return self.work / "model.safetensors"

    def _own(self) -> None:
        """Take the work folder, or refuse one whose targets come from other inputs."""
        wanted = {
            "corpus": self.corpus.digest,
            "teacher": self.teacher.digest,
            "typesetter_version": TYPESETTER_VERSION,
            "seed": self.config.seed,
            "shard_texts": self.config.shard_texts,
            "noise": self.config.noise,
            "passage_characters": self.config.passage_characters,
            "sources": dict(self.config.sources) if self.config.sources else None,
            "encoder": self.model.config.to_dict(),
        }
        path = self.work / "inputs.json"
        if not path.exists():
            path.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        held = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name, value in wanted.items() if held.get(name) != value]
        if other:
            raise InvalidInputError(
                f"{self.work} holds a run with another {' and '.join(other)}; "
                "name another work folder, or empty this one"
            )

    @cached_property
    def _lexicon(self) -> Lexicon:
        slots = self.model.config.glossary
        return Lexicon(self.corpus.words(), self.teacher, self.typesetter, slots=slots)

    def _mix(self, noise: float, noises: tuple[str, ...]) -> WordMix:
        return WordMix(noise, noises, self.config.word_varied, self.config.word_invented)

    def _train_reader(self, minutes: float, rate: float, mix: WordMix) -> None:
        """The line stem reads words; the first of these stages starts it from them."""
        config, encoder, stage = self.config, self.model.config, self.state["stage"]
        if self._done(minutes) >= 1:
            return
        place, stem = STAGES.index(stage), self.model.local.line_stem

        def reader_of(count: int, *seed: int) -> WordReader:
            pool = self._lexicon.draw(count, mix, seed=[config.seed, place, *seed])
            return WordReader(stem, pool, encoder.pixel_mean, encoder.pixel_std, self.device)

        watched = reader_of(WATCHED_WORDS, 0)
        pool_steps = max(1, POOL_READS * config.word_pool // config.word_batch)
        reader, held = watched, -1
        self._train_only(stem)
        watched.glossary.values.requires_grad_(False)  # what pieces mean is the teacher's to say
        with self._progress(stage, minutes) as bar:
            while (done := self._done(minutes)) < 1:
                began = time.perf_counter()
                step = self.state["step"]
                if held != step // pool_steps:
                    held = step // pool_steps
                    reader = reader_of(config.word_pool, 1, held)
                if stage == "words" and not step:
                    values = slot_values(self.teacher.piece_embeddings(), self._lexicon.pieces)
                    reader.start(values, np.random.default_rng([config.seed, place, 2]))
                rng = np.random.default_rng([config.seed, place, 3, step])
                rows = reader.draw(config.word_batch, rng)
                others = None
                if done < config.word_sampled and config.word_others < encoder.glossary:
                    drawn = rng.integers(encoder.glossary, size=config.word_others)
                    others = torch.from_numpy(drawn).to(self.device)
                loss = reader.loss(rows, others)
                self._step(loss, self._rate(rate, done))
                self._tick(bar, began, loss=f"{loss.item():.3f}")
                if self.state["step"] % SAVE_STEPS == 0:
                    logger.info("%s: step %d, %s", stage, self.state["step"], watched.validate())
                    self._save(model=stage == "words")
        self.state.update(watched.validate())
        logger.info("%s: %s", stage, {name: self.state[name] for name in READING})

    def _train_only(self, part: nn.Module) -> None:
        """Let a part of the model learn, and keep the rest as it is."""
        self.model.requires_grad_(False)
        part.requires_grad_(True)

    def _train_texts(self) -> None:
        config = self.config
        self._train_only(self.model)
        self.model.local.line_stem.requires_grad_(False)  # it reads as the first stage taught it
        store = ShardStore(
            self.work / "shards",
            self.corpus,
            self.teacher,
            self.typesetter,
            n_texts=config.shard_texts,
            seed=config.seed,
            noise=config.noise,
        )
        clean = self._held_out()
        with self._progress("texts", config.text_minutes) as bar:
            while (done := self._done(config.text_minutes)) < 1:
                began = time.perf_counter()
                index = self.state["shard"]
                short = config.short_first if index < config.short_shards else config.short_later
                # Past the last shard the long ones come again, in another order.
                fresh = index < config.shards
                span = config.shards - config.short_shards
                place = index if fresh else config.short_shards + (index - config.shards) % span
                shard = store.load(place, short=short).to(self.device)
                sums: dict[str, list[float]] = {}
                for batch in distil.batches(
                    shard, config.tile_batch, self.model.config.page_tiles, seed=index
                ):
                    terms = distil.losses(self.model, batch)
                    self._step(terms["total"], self._rate(config.text_rate, done))
                    for name, value in terms.items():
                        sums.setdefault(name, []).append(value.item())
                    done = self._done(config.text_minutes, since=began)
                    bar.n = round(60 * config.text_minutes * done)
                    bar.set_postfix(shard=index, loss=f"{terms['total'].item():.3f}")
                self.state["shard"] += 1
                self._tick(bar, began)
                means = {name: round(float(np.mean(values)), 4) for name, values in sums.items()}
                scores = distil.validate(self.model, clean, config.tile_batch)
                self._log(
                    {"shard": index, "minutes": self.state["seconds"] / 60, **means, **scores}
                )
                better = scores["cosine"] >= self.state["best"]
                self.state["best"] = max(scores["cosine"], self.state["best"])
                self._save(model=better)
                draw_curve(self.work / "log.jsonl", self.work / "curve.png", ENCODER)

    def _held_out(self) -> Shard:
        """Clean texts of their own draw."""
        store = ShardStore(
            self.work / "held-out",
            self.corpus,
            self.teacher,
            self.typesetter,
            n_texts=500,
            seed=self.config.seed + 1,
        )
        return store.load(0, short=self.config.short_later).to(self.device)

    def _take_best(self) -> None:
        """Go on from the model that was best on the held-out texts."""
        path = self.work / "model.safetensors"
        if path.exists() and self.state["best"]:
            self.model.load_state_dict(checkpoint.load(path).state_dict())

    def _finish(self) -> None:
        """Save what the last stage made, with its score."""
        scores = distil.validate(self.model, self._held_out(), self.config.tile_batch)
        logger.info("finished: %s", scores)
        self.state.update(stage="done", best=scores["cosine"])
        self._save()

    def _step(self, loss: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state["step"] += 1

    def _rate(self, peak: float, done: float) -> float:
        warm = min(1.0, (self.state["step"] + 1) / 200)
        return float(peak * warm * (0.03 + 0.97 * 0.5 * (1 + np.cos(np.pi * min(done, 1.0)))))

    def _done(self, minutes: float, since: float | None = None) -> float:
        extra = 0.0 if since is None else time.perf_counter() - since
        return float((self.state["seconds"] + extra) / max(60 * minutes, 1e-9))

    def _progress(self, stage: str, minutes: float) -> Any:
        return tqdm(
            total=round(60 * minutes),
            desc=stage,
            unit="s",
            disable=not self.bar,
            initial=round(self.state["seconds"]),
            mininterval=5,
        )

    def _tick(self, bar: Any, began: float, **shown: str) -> None:
        self.state["seconds"] += time.perf_counter() - began
        bar.n = min(bar.total, round(self.state["seconds"]))
        bar.set_postfix(**shown)

    def _log(self, record: dict[str, Any]) -> None:
        logger.info("%s", record)
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _new_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.model.parameters(), weight_decay=0.01, betas=(0.9, 0.98), fused=True
        )

    def _enter(self, stage: str) -> None:
        self.state.update(stage=stage, step=0, seconds=0.0)
        self.optimizer = self._new_optimizer()
        self._save()

    def _save(self, *, model: bool = True) -> None:
        """Optimiser and place in the schedule, and the model where it is the best so far."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for (name, _), held in zip(
            self.model.named_parameters(),
            (self.optimizer.state.get(p, {}) for p in self.model.parameters()),
            strict=True,
        ):
            tensors.update({f"{key}/{name}": value for key, value in held.items()})
        path = self.work / f"state-{self.state['stage']}-{self.state['step']}.safetensors"
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)
        if model:
            checkpoint.save(self.model, self.work / "model.safetensors")
        record = {
            "format_version": FORMAT_VERSION,
            "file": path.name,
            "config": asdict(self.config),
            **self.state,
        }
        part = self.work / "state.json.part"
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        os.replace(part, self.work / "state.json")
        for old in self.work.glob("state-*.safetensors"):
            if old != path:
                old.unlink()

    def _resume(self) -> None:
        try:
            record = json.loads((self.work / "state.json").read_text(encoding="utf-8"))
            version = record.get("format_version", FORMAT_VERSION)
            if version != FORMAT_VERSION or not isinstance(record["file"], str):
                raise ValueError(f"format version {version}, this release reads {FORMAT_VERSION}")
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidInputError(
                f"{self.work / 'state.json'} is damaged or of another release ({error!r}). Name "
                "another work folder, or continue with the release that wrote it"
            ) from error
        self.state = {name: record.get(name, value) for name, value in self.state.items()}
        with safe_open(self.work / record["file"], framework="pt") as file:
            keys = set(file.keys())
            self.model.load_state_dict(
                {key[6:]: file.get_tensor(key) for key in keys if key.startswith("model/")}
            )
            for name, parameter in self.model.named_parameters():
                if f"step/{name}" in keys:
                    self.optimizer.state[parameter] = {
                        kind: file.get_tensor(f"{kind}/{name}").to(
                            "cpu" if kind == "step" else self.device
                        )
                        for kind in ("step", "exp_avg", "exp_avg_sq")
                    }
