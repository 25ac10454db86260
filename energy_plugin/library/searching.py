"""A question to a stored table or collection."""

from __future__ import annotations

from pathlib import Path

from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.library.remedies import commands_as_remedies
from energy_plugin.library.stores.opening import open_store
from energy_plugin.library.stores.store import Hit


def ask(
    path: Path,
    name: str | None,
    text: str,
    k: int,
    *,
    where: str | None = None,
    ranking: str | None = None,
    embedder: str | None = None,
) -> list[Hit]:
    """The rows nearest to a text.

    Parameters
    ----------
    path : Path
        Folder of a database.
    name : str, optional
        Table or collection, where there are several.
    text : str
    k : int
    where : str, optional
        Filter in the host's language.
    ranking : {"cosine", "words", "fusion", "energy", "hybrid"}, optional
        Hybrid where the words of the texts are indexed, energy elsewhere.
    embedder : str, optional
        Must be given where the index was made with a class of the user's own: no code runs
        because a database names it.

    Raises
    ------
    InvalidInputError
        An empty question, a filter that the host does not take, or an embedder that is not the
        one of the rows.
    NotBuiltError, CorruptFieldError, ForeignFieldError
        The field cannot be used; the message names a command.
    """
    if not text.strip():
        raise InvalidInputError("The question is empty. Give some words.")
    store = open_store(path, name)
    vector: object = None
    made_with = store.embedder_name
    if embedder is not None and embedder != (made_with or "compact"):
        raise InvalidInputError(
            f"--embedder is {embedder!r}, but {store.name!r} was embedded by "
            f"{made_with or 'compact'!r}. Leave the option out or give that one."
        )
    if made_with is not None:
        from energy_plugin.library.embedders import is_class, load_embedder

        if is_class(made_with) and embedder is None:
            raise InvalidInputError(
                f"{store.name!r} was embedded by the class {made_with}, which runs only if you "
                f"name it. Add: --embedder {made_with}"
            )
        vector = load_embedder(made_with).encode_query(text)
    try:
        with commands_as_remedies(path, name):
            chosen = ranking or ("hybrid" if store.has_words else "energy")
            return store.search(text, k, vector=vector, where=where, ranking=chosen)
    except (EnergyPluginError, OSError):
        raise
    except Exception as error:  # each host refuses filters in its own way
        if where is None:
            raise
        said = " ".join(str(error).split())
        raise InvalidInputError(
            f"{store.host} does not understand --where {where!r}: {said[:300]}"
        ) from error
