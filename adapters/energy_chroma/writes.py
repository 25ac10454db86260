"""Chroma's own writes, which keep the energy columns in step."""

from __future__ import annotations

from typing import Any

from chromadb.api.types import Where, WhereDocument

from energy_chroma import writing
from energy_chroma.fields import ChromaField
from energy_chroma.keeper import CollectionKeeper
from energy_chroma.patience import VERB
from energy_plugin.stored import FieldVerbs
from energy_plugin.stored.moments import Moment, reached


class CollectionWrites(FieldVerbs):
    """``add``, ``upsert``, ``update`` and ``delete`` of a collection with a field."""

    _keeper: CollectionKeeper

    def add(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Add rows with their energy columns: ``collection.add``.

        As in Chroma, ids that exist already are left as they are.
        """
        self._write(
            "add",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def upsert(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Add or replace rows with their energy columns: ``collection.upsert``."""
        self._write(
            "upsert",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def update(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Change rows and, where their vector changes, their energy columns: ``collection.update``.

        Metadata is merged, as Chroma does; ids that do not exist are ignored.
        """
        self._write(
            "update",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def delete(
        self,
        ids: Any = None,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        limit: int | None = None,
    ) -> Any:
        """Delete rows: ``collection.delete``."""
        with self._keeper.lock:
            patience = self._keeper.host.patience
            field = patience.call(self._keeper.open_if_built, VERB)
            limited = {} if limit is None else {"limit": limit}  # unknown to Chroma 1.5.0
            reached(Moment.WRITING)
            answer = patience.call(
                lambda: self._keeper.host.collection.delete(ids, where, where_document, **limited)
            )
            if field is not None:
                scope = [ids] if isinstance(ids, str) else ids
                patience.call(lambda: self._take_out(field, scope), VERB)
        return answer

    def _take_out(self, field: ChromaField, scope: Any) -> None:
        """Take rows that are gone out of the field; of all rows where there is no scope."""
        present = set(self._keeper.host.ids(ids=scope))
        touched = field.rows.ids if scope is None else scope
        gone = [n for n in touched if n in field.rows and n not in present]
        if not writing.remove(self._keeper.store, field, gone):
            self._keeper.live = None

    def _write(self, verb: str, **given: Any) -> None:
        patience = self._keeper.host.patience
        with self._keeper.lock:
            field = patience.call(self._keeper.open_if_built, VERB)
        # without the lock, as embedding can take longer than anything else
        request: Any = None if field is None else self._keeper.host.prepare_write(verb, **given)
        with self._keeper.lock:
            patience.call(lambda: self._store(verb, given, request), VERB)

    def _store(self, verb: str, given: dict[str, Any], request: Any) -> None:
        """Write rows, prepared where there is a field, and keep the field in step."""
        field = None if request is None else self._keeper.open_if_built()
        if field is None or request["embeddings"] is None:
            getattr(self._keeper.host.collection, verb)(**given)
        elif not writing.write(self._keeper.store, field, verb, request):
            self._keeper.live = None
