"""The stored field of a Chroma collection: opened, published, compared, dropped."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_chroma import checkup, chunks, fields, reach, view
from energy_chroma.fields import ChromaField
from energy_chroma.host import ChromaHost
from energy_chroma.store import FieldStore
from energy_chroma.survey import survey
from energy_chroma.watching import Look, Watch
from energy_plugin.errors import CorruptFieldError, InvalidInputError, NotBuiltError
from energy_plugin.stored import Changes, FieldInfo, Finding, Taken
from energy_plugin.stored.comparing import scan
from energy_plugin.stored.rows import RowMap
from energy_plugin.stored.taking import released, taken
from energy_plugin.stored.words import tokenizer_of

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex


class CollectionKeeper:
    """See `energy_plugin.stored.Keeper`.

    Parameters
    ----------
    host : ChromaHost
    watch : bool
        Whether to look for another field, as of another process, whenever one is needed.
    device : str, optional
    interval : float, default 0
        Seconds that a view of the collection may be old.
    """

    def __init__(
        self, host: ChromaHost, *, watch: bool, device: str | None, interval: float = 0.0
    ) -> None:
        self.host = host
        self.store = FieldStore(host)
        self.watch = watch
        self.device = device
        self.interval = interval
        self.seen = -math.inf  # when a query last looked for changes, by a monotonic clock
        self.lock = threading.RLock()
        self.asks_chroma = False  # whether `findings` asks for rows by Chroma's own search
        self.live: ChromaField | None = None  # the field in memory
        self.watching = Watch()

    def due(self) -> bool:
        """Whether the next query has to look for changes."""
        return self.live is None or time.monotonic() >= self.seen + self.interval

    def open(self, *, check: bool = True) -> ChromaField:
        """The loaded field; with `check` read again where another process built a new one."""
        state = self.host.state() if check else None
        if self.live is not None and check and (state is None or state != self.watching.pointed):
            pointer = self.store.pointer()
            if pointer is None or pointer.generation != self.live.pointer.generation:
                self.live = None
            else:
                self.watching.pointed = state
        if self.live is None:
            self.watching.forget()
            self.live = fields.load(self.host, self.store, self.device)
        return self.live

    def look(self, live: ChromaField, *, due: bool) -> Look:
        """What a query has to look for, in the present state of the host."""
        if not due:
            return Look(rows=False, near=False, hits=False)
        state = self.host.state()
        whole = state is not None and state == self.watching.whole and live is self.live
        counted = state is not None and state == live.counted_at
        return Look(
            rows=self.watch and not whole and not counted,
            near=self.watch and not whole,
            hits=not whole,
            present=whole,
            state=state,
        )

    def looked(self, live: ChromaField, look: Look, began: float) -> None:
        """Note that a query has looked for changes, and when."""
        self.seen = began
        often = self.watching.asked(look.state)
        if self.watch and often and look.state is not None and live is self.live:
            survey(self, live, look.state)

    def open_if_built(self) -> ChromaField | None:
        """As `open`, None before the first build."""
        try:
            return self.open()
        except NotBuiltError:
            return None

    def field(self) -> EnergyField:
        """See `Keeper.field`."""
        return self.open(check=self.watch).index.field

    def writable(self) -> None:
        """A collection always is."""

    def others_go_on(self) -> AbstractContextManager[None]:
        """See `Keeper.others_go_on`."""
        return released(self.lock)

    def take(self, *, fresh: bool = False) -> Taken:
        """See `Keeper.take`."""
        live = fields.load(self.host, self.store, self.device) if fresh else self.open()
        live.apply(scan(self.host, live.rows))
        return taken(live, live.pending.without(live.unreadable), self.device)

    # -- publishing

    def build(
        self,
        config: EnergyConfig,
        *,
        row_columns: bool,
        memory_limit: int | str | None,
        show_progress_bar: bool,
        language: str | None = None,
    ) -> None:
        """Fit a field to all rows and publish it; the lock is free meanwhile."""
        if self.host.beside.of_a_companion:
            raise InvalidInputError(
                f"{self.host.name!r} holds the energy columns of another collection and has no "
                "documents to rank. Build on that collection; to leave out companions, use "
                "energy_chroma.stored.is_companion(name)."
            )
        shown = self._shows_columns()
        if row_columns and not shown:
            view.refuse_foreign(self.host)
        live = self._fitted(config, row_columns, memory_limit, show_progress_bar, language)
        with self.lock:
            live.catch_up()
            self._replace(live, show_progress_bar=show_progress_bar)
            if shown and not row_columns:
                view.clear(self.host, show_progress_bar=show_progress_bar)

    def language(self, lexical: bool | str | None) -> str | None:
        """Language of the words to build; None without words.

        Parameters
        ----------
        lexical : bool or str, optional
            As in the present field if not given; True is English.
        """
        if lexical is None:
            return checkup.salvage(self.store).language
        return None if lexical is False else tokenizer_of(lexical).language

    def publish(self, taken: Taken, index: EnergyIndex, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.publish`; what rows show is written where it changes."""
        former, names, before = taken.origin
        rows = RowMap(names, taken.fingerprints)
        live = ChromaField(self.host, index, rows, former.pointer)
        live.words = former.words
        moved: list[Any] | None = None
        if former.pointer.viewed == former.pointer.generation and len(before) == len(names):
            after = index.columns
            same = (
                (before.cell == after.cell)
                & (before.lambda_ == after.lambda_)
                & (before.dispersion == after.dispersion)
            )
            moved = [names[row] for row in np.flatnonzero(~same)]
        if self.live is not None and self.live is not former:
            live.follow(self.live)
        live.follow(former)
        live.catch_up()
        if moved is not None:
            for late in (taken.pending, live.pending):
                moved += [*late.added, *late.changed]
        self._replace(live, moved, show_progress_bar=show_progress_bar)

    def refit_within(
        self, config: EnergyConfig | None, memory_limit: int, *, show_progress_bar: bool
    ) -> None:
        """See `Keeper.refit_within`."""
        former = self.open()
        settings = former.index.field.config if config is None else config
        bits = former.fidelity()
        with self.others_go_on():
            live = self._fitted(
                settings,
                former.pointer.row_columns,
                memory_limit,
                show_progress_bar,
                former.pointer.language,
            )
        live.catch_up()
        live.lower(bits)
        self._replace(live, show_progress_bar=show_progress_bar)

    def _fitted(
        self,
        config: EnergyConfig,
        row_columns: bool,
        memory_limit: int | str | None,
        show_progress_bar: bool,
        language: str | None,
    ) -> ChromaField:
        return fields.fit(
            self.host,
            config,
            row_columns=row_columns,
            show_progress_bar=show_progress_bar,
            device=self.device,
            memory_limit=memory_limit,
            language=language,
        )

    def _replace(
        self, live: ChromaField, moved: list[Any] | None = None, *, show_progress_bar: bool
    ) -> None:
        """Publish a field, and let rows show it: those that moved, None for all."""
        fields.publish(live, self.store)
        self.live = live
        self._show(live, moved, show_progress_bar=show_progress_bar)

    # -- rows that are behind

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """See `Keeper.refresh`; reads all vectors (0.4 s per 10,000 rows)."""
        live = self.open()
        live.apply(scan(self.host, live.rows))
        live.apply(Changes(changed=tuple(checkup.other_documents(live))))
        changes = live.pending.without(live.unreadable)
        loose = live.pointer.chunks > 1 + len(live) // chunks.CHUNK_ROWS
        shown = live.pointer.viewed == live.pointer.generation
        if changes or loose:
            fields.publish(live, self.store)
        if not shown:
            self._show(live, show_progress_bar=show_progress_bar)
        else:
            fresh = [*changes.added, *changes.changed]
            if live.pointer.row_columns:
                fresh += view.missing(self.host, live.rows.ids)
            self._show(live, fresh, show_progress_bar=show_progress_bar)
        return changes

    def times(self, taken: Taken, key: str) -> Sequence[Any]:
        """See `Keeper.times`: the values of a metadata key."""
        names = taken.origin[1]
        times = self.host.values(key)
        given = [times.get(name) for name in names]
        if names and all(value is None for value in given):
            raise InvalidInputError(
                f"No row of {self.host.collection.name!r} has the metadata key {key!r}, which "
                "should hold its time. Name the right key."
            )
        return given

    # -- λ

    def in_lambda(self, low: float, high: float) -> tuple[list[str], Sequence[float] | Any]:
        """See `Keeper.in_lambda`; by the metadata of the rows where they show λ."""
        live = self.open(check=self.watch)
        if not live.pointer.row_columns:
            return live.in_lambda(low, high)
        return self.host.between(view.LAMBDA, low, high)

    def lambda_of(self, row: Any) -> float | None:
        """See `Keeper.lambda_of`."""
        return self.open(check=self.watch).lambda_of(row)

    # -- health

    @contextmanager
    def asking_chroma(self, reach: bool) -> Iterator[None]:
        """Under the lock: whether `findings` asks for rows by Chroma's own search."""
        with self.lock:
            self.asks_chroma = reach
            try:
                yield
            finally:
                self.asks_chroma = False

    def findings(self, taken: Taken) -> Iterator[Finding]:
        """See `Keeper.findings`."""
        yield from checkup.shown_otherwise(self.host, taken.origin[0])
        yield from checkup.worded_otherwise(taken.origin[0])
        if self.asks_chroma:
            yield from checkup.out_of_reach(self.host, taken)
        records = self.store.leftovers()
        if records:
            message = f"{len(records)} records of a write that was cut short."
            yield Finding("leftover", message, "the next write, or repair()", tuple(records))

    def mend(self, findings: Sequence[Finding]) -> None:
        """See `Keeper.mend`."""
        self.live = None
        live = self.open()
        self.store.tidy()
        altered = [name for one in findings if one.kind == "altered" for name in one.ids]
        if altered and live.words is not None:
            live.read_words(altered)
            fields.publish(live, self.store)
        if altered:
            self._show(live, altered, show_progress_bar=False)
        if any(one.kind == "unreachable" for one in findings):
            names, vectors = self.host.vectors(live.rows.ids)
            reach.bring_back(
                self.host, names, vectors, reach.unreachable(self.host, names, vectors)
            )

    def rebuild(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.rebuild`."""
        from energy_plugin.energy.config import as_config

        left = checkup.salvage(self.store)
        self.build(
            as_config(left.config),
            row_columns=left.row_columns,
            memory_limit=None,
            show_progress_bar=show_progress_bar,
            language=left.language,
        )

    def info(self) -> FieldInfo:
        """See `Keeper.info`; rows that others added or deleted are pending."""
        live = self.open()
        live.catch_up()
        return checkup.describe(live, self.store)

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.drop`."""
        self.live = None
        shown = self._shows_columns()
        built = self.store.drop()
        if shown or not built:  # a drop that was cut short is finished
            view.clear(self.host, show_progress_bar=show_progress_bar)

    # -- inside

    def _shows_columns(self) -> bool:
        """Whether rows have energy keys in their metadata, as far as that can be read."""
        try:
            pointer = self.store.pointer()
        except CorruptFieldError:
            return True
        return pointer is not None and pointer.row_columns

    def _show(
        self, live: ChromaField, ids: list[Any] | None = None, *, show_progress_bar: bool
    ) -> None:
        """Write the row columns of some rows, None for all, and note that they are there."""
        if live.pointer.row_columns:
            numbers = live.index.rows if ids is None else live.rows.rows(ids)
            names = live.rows.names(numbers.tolist())
            columns = live.columns_of(numbers)
            view.write(self.host, names, columns, show_progress_bar=show_progress_bar)
        live.pointer = self.store.mark_viewed(live.pointer)
