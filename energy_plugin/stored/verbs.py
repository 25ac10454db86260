"""The verbs of a stored field, as users call them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin.energy.config import as_config
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored import by_lambda
from energy_plugin.stored.checking import findings_of, wrong_rows
from energy_plugin.stored.findings import UNUSABLE, RepairReport
from energy_plugin.stored.moments import Moment, reached
from energy_plugin.validation import as_memory_limit

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig, EnergyField, Maintenance
    from energy_plugin.forgetting import ForgettingPlan, Schedule
    from energy_plugin.stored.by_lambda import LambdaHits
    from energy_plugin.stored.changes import Changes
    from energy_plugin.stored.findings import Finding
    from energy_plugin.stored.info import FieldInfo
    from energy_plugin.stored.keeper import Keeper


class FieldVerbs:
    """The methods of an energy field, with the same names in every host.

    Parameters
    ----------
    keeper : Keeper
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    @property
    def field(self) -> EnergyField:
        """The stored energy field.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            There is no field, it belongs to other vectors, or its bytes are damaged.
        """
        with self._keeper.lock:
            return self._keeper.field()

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """Store the energy columns of rows that were added or changed without the plugin.

        The field itself, with its anchors and metric, does not change; `maintain` adapts its
        cells, `refit` fits a new field.

        Parameters
        ----------
        show_progress_bar : bool, default False

        Returns
        -------
        Changes
            The rows whose columns were missing, superfluous or computed from another vector.
        """
        with self._keeper.lock:
            self._keeper.writable()
            return self._keeper.refresh(show_progress_bar=show_progress_bar)

    def maintain(self, *, show_progress_bar: bool = False) -> Maintenance:
        """Split overloaded cells and merge close ones; writes a new generation if any cell changed.

        Use it after many additions or changes; see ``info().drift``. Metric and heat do not
        change: `refit` learns them again.

        Parameters
        ----------
        show_progress_bar : bool, default False

        Returns
        -------
        energy_plugin.energy.Maintenance
            Cells merged and split, rows coded again, drift before and after.
        """
        with self._keeper.lock:
            self._keeper.writable()
            taken = self._keeper.take()
            index, former = taken.index, taken.index.field
            with self._keeper.others_go_on():
                reached(Moment.FITTING)
                vectors = taken.vectors
                report = index.maintain(None if vectors is None or not len(vectors) else vectors)
            if index.field is not former:
                self._keeper.publish(taken, index, show_progress_bar=show_progress_bar)
            elif taken.pending:
                self._keeper.refresh(show_progress_bar=show_progress_bar)
        return report

    def refit(
        self,
        config: EnergyConfig | None = None,
        *,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit a new field to the current vectors, as a new generation; see ``info().drift``.

        As `build`, with the configuration of the current field. Forgotten rows keep their lower
        precision.

        Parameters
        ----------
        config : EnergyConfig, optional
            By default, the configuration of the current field.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the fit may take beyond the field in memory; the vectors are
            then read a block at a time. Rows added meanwhile wait for `refresh`.
        show_progress_bar : bool, default False

        Returns
        -------
        This object.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            There is no usable field; `build` makes a new one.
        InvalidInputError
            There are no rows, the limit is too small, or `config` is not an EnergyConfig.
        """
        limit = as_memory_limit(memory_limit)
        settings = None if config is None else as_config(config)
        with self._keeper.lock:
            self._keeper.writable()
            if limit is not None:
                self._keeper.refit_within(settings, limit, show_progress_bar=show_progress_bar)
                return self
            taken = self._keeper.take()
            with self._keeper.others_go_on():
                reached(Moment.FITTING)
                index = taken.index.refit(taken.vectors, settings)
            self._keeper.publish(taken, index, show_progress_bar=show_progress_bar)
        return self

    def forget(
        self,
        now: Any,
        *,
        time_key: str,
        schedule: Schedule | None = None,
        pin_key: str | None = None,
        dry_run: bool = True,
    ) -> ForgettingPlan:
        """Lower the fidelity of old rows: bit planes of their residual codes are dropped.

        No row disappears. Texts, metadata and the host's own vectors do not change. Only the
        energy column shrinks, and an old row is distinguished less precisely from its neighbours.

        Parameters
        ----------
        now : datetime, date, str or number
            The moment from which ages are counted, see `energy_plugin.forgetting.ages_in_days`.
        time_key : str
            Column or metadata key with each row's time: a timestamp, a date, an ISO 8601 string
            or a number since 1970. Rows without one keep their fidelity.
        schedule : Schedule, optional
            Maps ages to bits; a default schedule if not given.
        pin_key : str, optional
            Column or metadata key of pins: rows with a true value there keep their fidelity.
        dry_run : bool, default True
            Return the plan without applying it.

        Returns
        -------
        energy_plugin.forgetting.ForgettingPlan
            For the live rows; `bytes_saved` and `rows` say what is removed.

        Raises
        ------
        InvalidInputError
            No row has the key, a value is not a time, or `schedule` is not a Schedule.
        """
        from energy_plugin.energy.codec.codes import stored_bits
        from energy_plugin.forgetting import Schedule, ages_in_days

        if schedule is not None and not isinstance(schedule, Schedule):
            raise InvalidInputError(
                f"schedule must be a Schedule, got {type(schedule).__name__}. Leave it out for "
                "the default one."
            )
        with self._keeper.lock:
            self._keeper.writable()
            taken = self._keeper.take()
            index = taken.index
            ages = ages_in_days(self._keeper.times(taken, time_key), now)
            if pin_key is not None:
                ages[[bool(pin) for pin in self._keeper.times(taken, pin_key)]] = np.nan
            bits = stored_bits(index.columns.residual, index.field.dim)
            plan = (schedule or Schedule()).plan(ages, bits, index.field.dim)
            if not dry_run and len(plan.rows):
                for few, rows in plan.by_bits.items():
                    index.lower(rows, few)
                self._keeper.publish(taken, index)
        return plan

    def search_lambda(self, value_or_row: Any, k: int = 10) -> LambdaHits:
        """The k rows whose λ is nearest to a value, or to that of a row.

        LanceDB and Chroma answer from the stored ``energy_lambda``, with the host's scalar index
        if it has one. They do not find rows changed since the last `refresh`.

        Parameters
        ----------
        value_or_row : float, str or int
            A float is a λ. Anything else is the id of a row (the row id of a LanceDB table); this
            row is left out of the result.
        k : int, default 10

        Returns
        -------
        energy_plugin.stored.LambdaHits
            ``ids``, ``lambdas`` and ``gaps``, the smallest gap first.

        Raises
        ------
        InvalidInputError
            Neither a finite λ nor the id of a row of the field, or k is not positive.
        """
        with self._keeper.lock:
            return by_lambda.search(self._keeper, value_or_row, k)

    def info(self) -> FieldInfo:
        """Size and settings of the field, the bytes it takes, and the drift of the rows.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `field`.
        """
        with self._keeper.lock:
            return self._keeper.info()

    def verify(self) -> list[Finding]:
        """Look for damage; reads everything, changes nothing.

        It checks the pointer, the field with its checksum, types, the fingerprint of every row's
        vector, cells, λ and G, copies of these values elsewhere, and leftovers of interrupted
        writes.

        Returns
        -------
        list of Finding
            The worst first; empty if there are no problems.
        """
        with self._keeper.lock:
            return findings_of(self._keeper)

    def repair(self, *, rebuild: bool = False, show_progress_bar: bool = False) -> RepairReport:
        """Fix what `verify` finds.

        Parameters
        ----------
        rebuild : bool, default False
            Build a new field if there is none, or if the existing one cannot be used. Off by
            default: it restores lost bit planes, and replaces a field that only looks foreign
            because the wrong embedding function was given.
        show_progress_bar : bool, default False

        Returns
        -------
        RepairReport
            What was found, and what remains.
        """
        with self._keeper.lock:
            self._keeper.writable()
            found = findings_of(self._keeper)
            kinds = {finding.kind for finding in found}
            if kinds & UNUSABLE:
                if rebuild:
                    self._keeper.rebuild(show_progress_bar=show_progress_bar)
            elif kinds:
                self._keeper.mend(found)
                if "pending" in kinds:
                    self._keeper.refresh(show_progress_bar=show_progress_bar)
                if "altered" in kinds:
                    self._encode_again()
            remaining = findings_of(self._keeper) if found else []
        return RepairReport(tuple(found), tuple(remaining))

    def _encode_again(self) -> None:
        """Rewrite the columns of rows that `wrong_rows` finds."""
        from energy_plugin.energy import EnergyColumns, EnergyIndex

        taken = self._keeper.take()
        wrong = wrong_rows(taken)
        if len(wrong) == 0 or taken.vectors is None:
            return
        index = taken.index
        keep = np.ones(len(index), dtype=bool)
        keep[wrong] = False
        parts = [index.columns.take(keep), index.encode(taken.vectors[wrong])]
        order = np.argsort(np.concatenate([np.flatnonzero(keep), wrong]))
        columns = EnergyColumns.concat(parts).take(order)
        mended = EnergyIndex.from_columns(index.field, columns, device=index.device)
        now = replace(taken, fingerprints=fingerprint(taken.vectors))
        self._keeper.publish(now, mended)

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """Remove the field, its columns and the companions; rows and vectors do not change.

        Parameters
        ----------
        show_progress_bar : bool, default False
        """
        with self._keeper.lock:
            self._keeper.writable()
            self._keeper.drop(show_progress_bar=show_progress_bar)
