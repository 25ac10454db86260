"""The energy field of one Chroma collection: opened, built, kept up, dropped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from chromadb.api.models.Collection import Collection

from energy_chroma import checkup, reembedding, rows, upkeep, view
from energy_chroma.host import ChromaHost
from energy_chroma.live import LiveField
from energy_chroma.staleness import Changes, scan
from energy_chroma.store import FieldStore
from energy_plugin.energy.config import as_config
from energy_plugin.errors import CorruptFieldError, NotBuiltError

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig, EnergyField, Maintenance
    from energy_plugin.forgetting import ForgettingPlan, Schedule


class FieldKeeper:
    """What `EnergyCollection` does with the field itself, apart from reading and writing rows."""

    def __init__(self, collection: Collection, *, verify: bool, device: str | None) -> None:
        self._host = ChromaHost(collection)
        self._store = FieldStore(self._host)
        self._field: LiveField | None = None
        self._lock = threading.RLock()
        self._verify = verify
        self._device = device

    @property
    def field(self) -> EnergyField:
        """The energy field, read from Chroma where it is not in memory; see `query` for errors."""
        with self._lock:
            return self._open(check=self._verify).index.field

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        row_columns: bool = True,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit the energy field to all rows and store its columns in Chroma.

        A field that exists is replaced by a new generation and stays readable until then.

        Parameters
        ----------
        config : EnergyConfig, optional
            Settings of the field.
        row_columns : bool, default True
            Also write ``energy_lambda``, ``energy_dispersion`` and ``energy_cell`` into each
            row's metadata, for people and for ``where`` (25 s per 100,000 rows). Search does
            not need them.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond what process and Chroma hold.
            Where all rows need more, the field is fitted on a sample, the rest page by page.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object.

        Raises
        ------
        InvalidInputError
            The collection is empty, the limit is too small, `config` is no EnergyConfig, or rows
            have metadata of their own under the names of the row columns.
        """
        config = as_config(config)
        shown = self._shows_columns()
        if row_columns and not shown:
            view.refuse_foreign(self._host)
        # without the lock: other threads go on reading and writing with the former field
        field = LiveField.fit(
            self._host,
            config,
            row_columns=row_columns,
            show_progress_bar=show_progress_bar,
            device=self._device,
            memory_limit=memory_limit,
        )
        with self._lock:
            field.catch_up()
            self._replace(field, show_progress_bar=show_progress_bar)
            if shown and not row_columns:
                view.clear(self._host, show_progress_bar=show_progress_bar)
        return self

    def refit(
        self,
        config: EnergyConfig | None = None,
        *,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit the field anew with its present settings: for rows that moved far from it.

        Unlike `build` it keeps the configuration, the choice of row columns, and the fidelity
        of rows that `forget` has lowered.

        Parameters
        ----------
        config : EnergyConfig, optional
            Other settings.
        memory_limit : int or str, optional
            As in `build`, beyond the former field.
        show_progress_bar : bool, default False

        Raises
        ------
        NotBuiltError, CorruptFieldError, ForeignFieldError
            As in `query`; `build` starts afresh.
        InvalidInputError
            The collection is empty, or `config` is no EnergyConfig.
        """
        with self._lock:
            former = self._open()
            settings = former.index.field.config if config is None else as_config(config)
            bits = upkeep.fidelity(former)
        field = LiveField.fit(
            self._host,
            settings,
            row_columns=former.pointer.row_columns,
            show_progress_bar=show_progress_bar,
            device=self._device,
            memory_limit=memory_limit,
        )
        with self._lock:
            field.catch_up()
            upkeep.lower(field, bits)
            self._replace(field, show_progress_bar=show_progress_bar)
        return self

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """Compare every row with its energy columns and store what changed.

        Reads all vectors (0.4 s per 10,000 rows). The field itself, its anchors and metric, is
        kept; `maintain` adapts its cells, `refit` fits it anew.

        Returns
        -------
        Changes
            The rows whose columns were missing, superfluous or of another vector.
        """
        with self._lock:
            field = self._open()
            field.apply(scan(self._host, field.rows))
            changes = field.pending.without(field.unreadable)
            loose = field.pointer.chunks > 1 + len(field) // rows.CHUNK_ROWS
            shown = field.pointer.viewed == field.pointer.generation
            if changes or loose:
                field.store(self._store)
            if not shown:
                self._show(field, show_progress_bar=show_progress_bar)
            else:
                fresh = [*changes.added, *changes.changed]
                if field.pointer.row_columns:
                    fresh += view.missing(self._host, field.rows.ids)
                self._show(field, fresh, show_progress_bar=show_progress_bar)
        return changes

    def maintain(self, *, show_progress_bar: bool = False) -> Maintenance:
        """Merge close cells and split overloaded ones, and code their rows anew.

        For a collection that has grown or moved; see ``info().drift``. The rows' own vectors
        are read, so that nothing is lost by coding twice. Metric and heat stay: `refit`
        learns them anew. Stored as a new generation.

        Returns
        -------
        energy_plugin.energy.Maintenance
            Cells merged and split, rows coded anew, drift before and after.
        """
        with self._lock:
            field = self._open()
            field.apply(scan(self._host, field.rows))
            shown = field.pointer.viewed == field.pointer.generation
            try:
                report, moved = upkeep.maintain(field)
                field.store(self._store)
            except BaseException:
                self._field = None  # half-way: read it again
                raise
            names = moved if shown else None
            self._show(field, names, show_progress_bar=show_progress_bar)
        return report

    def forget(
        self,
        now: Any,
        *,
        key: str,
        schedule: Schedule | None = None,
        dry_run: bool = True,
    ) -> ForgettingPlan:
        """Lower the fidelity of old rows: bit planes of their residual codes are dropped.

        No row disappears. Documents, metadata and Chroma's own vectors stay as they are;
        what shrinks is the energy column, in Chroma and in memory, and with it how finely an
        old row is told from its neighbours.

        Parameters
        ----------
        now : datetime, date, str or number
            The moment from which ages are counted, see `energy_plugin.forgetting.ages_in_days`.
        key : str
            Metadata key with each row's time. Rows without it keep their fidelity.
        schedule : Schedule, optional
            From age to bits; the default one if not given.
        dry_run : bool, default True
            Only say what would happen.

        Returns
        -------
        energy_plugin.forgetting.ForgettingPlan
            Over the live rows in Chroma's order of insertion.

        Raises
        ------
        InvalidInputError
            No row has the key, or a value is no time.
        """
        with self._lock:
            field = self._open()
            field.catch_up()
            plan, names = upkeep.plan(field, now, key=key, schedule=schedule)
            if not dry_run and len(plan.rows):
                shown = field.pointer.viewed == field.pointer.generation
                pending = field.pending
                upkeep.lower(
                    field, {names[row]: bits for bits, of in plan.by_bits.items() for row in of}
                )
                field.store(self._store)
                if shown and not pending:  # λ, G and cell did not change
                    field.pointer = self._store.mark_viewed(field.pointer)
        return plan

    def reembed(self, embedding_function: Any, *, show_progress_bar: bool = False) -> Self:
        """Embed all rows again with another function, and take the place of this collection.

        The way to another model or another version of the typesetter. A copy is made beside,
        with a field of its own where there is one; then it gets the collection's name and the
        original is deleted. Until then the original stays as it is and answers. Called again
        after a crash it goes on where it was; a crash between the two renames at the end is
        mended by `energy_chroma.recover`.

        Rows written meanwhile are copied too. The collection has a new uuid, so that other
        objects and processes have to open it again by its name.

        Parameters
        ----------
        embedding_function : chromadb EmbeddingFunction
            One that Chroma can store.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object, on the new collection.

        Raises
        ------
        InvalidInputError
            Rows have nothing to embed, or Chroma could not store the function; nothing changes.
        """
        host, pointer = self._host, self._store.pointer()
        # without the lock: other threads go on with the original
        beside = reembedding.copied(host, embedding_function, show_progress_bar=show_progress_bar)
        fresh = FieldKeeper(beside, verify=self._verify, device=self._device)
        if pointer is not None:
            config, row_columns = checkup.salvage(self._store)
            fresh.build(config, row_columns=row_columns, show_progress_bar=show_progress_bar)
        with self._lock:
            late = reembedding.swap(host, beside)
            self._host, self._store, self._field = fresh._host, fresh._store, fresh._field
            if late and self._field is not None:
                self.refresh(show_progress_bar=show_progress_bar)
        return self

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """Remove the field, its companion collection and the rows' energy keys.

        The rows themselves, their vectors and the user's metadata stay as they are.
        """
        with self._lock:
            self._field = None
            shown = self._shows_columns()
            built = self._store.drop()
            if shown or not built:  # a drop that was cut short is finished
                view.clear(self._host, show_progress_bar=show_progress_bar)

    # -- health

    def info(self) -> checkup.CollectionInfo:
        """What the field is made of, what it takes, how far the rows have moved from it.

        Raises
        ------
        NotBuiltError, CorruptFieldError, ForeignFieldError
            As in `query`.
        """
        with self._lock:
            return checkup.describe(self._open(), self._store)

    def verify(self) -> list[checkup.Finding]:
        """Look for damage; reads everything, changes nothing.

        Checks the pointer, the checksum of each record, leftovers of crashes, the fingerprint
        of every row's vector, and the energy keys in the rows' metadata.

        Returns
        -------
        list of Finding
            Empty where all is sound.
        """
        with self._lock:
            return checkup.examine(self._host, self._store, self._device)

    def repair(self, *, show_progress_bar: bool = False) -> list[checkup.Finding]:
        """Mend what `verify` finds: rewrite columns, or build anew where the field is damaged.

        Returns
        -------
        list of Finding
            What was found and mended.

        Raises
        ------
        NotBuiltError
            There is no field: nothing to repair.
        """
        with self._lock:
            found = self.verify()
            kinds = {finding.kind for finding in found}
            if "missing" in kinds:
                raise NotBuiltError(found[0].message)
            if kinds & {"corrupt", "foreign"}:
                config, row_columns = checkup.salvage(self._store)
                self.build(config, row_columns=row_columns, show_progress_bar=show_progress_bar)
            elif kinds:
                self._field = None
                field = self._open()
                self.refresh(show_progress_bar=show_progress_bar)
                self._store.tidy()
                stale = [name for one in found if one.kind == "view" for name in one.ids]
                if stale:
                    self._show(field, stale, show_progress_bar=show_progress_bar)
        return found

    # -- inside

    def _open(self, *, check: bool = True) -> LiveField:
        """The loaded field; with `check` read again where another process built a new one."""
        if self._field is not None and check:
            pointer = self._store.pointer()
            if pointer is None or pointer.generation != self._field.pointer.generation:
                self._field = None
        if self._field is None:
            self._field = LiveField.load(self._host, self._store, self._device)
        return self._field

    def _shows_columns(self) -> bool:
        """Whether rows have energy keys in their metadata, as far as that can be read."""
        try:
            pointer = self._store.pointer()
        except CorruptFieldError:
            return True
        return pointer is not None and pointer.row_columns

    def _open_if_built(self) -> LiveField | None:
        try:
            return self._open()
        except NotBuiltError:
            return None

    def _replace(self, field: LiveField, *, show_progress_bar: bool) -> None:
        """Publish a fitted field."""
        field.store(self._store)
        self._field = field
        self._show(field, show_progress_bar=show_progress_bar)

    def _show(
        self, field: LiveField, ids: list[str] | None = None, *, show_progress_bar: bool
    ) -> None:
        """Write the row columns of some rows, None for all, and note that they are there."""
        if field.pointer.row_columns:
            numbers = field.index.rows if ids is None else field.rows.rows(ids)
            names = field.rows.names(numbers.tolist())
            columns = field.columns_of(numbers)
            view.write(self._host, names, columns, show_progress_bar=show_progress_bar)
        field.pointer = self._store.mark_viewed(field.pointer)
