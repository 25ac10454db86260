"""A question to a stored table or collection."""

from __future__ import annotations

from pathlib import Path

from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.library.remedies import commands_as_remedies
from energy_plugin.library.stores.opening import open_store
from energy_plugin.library.stores.store import Hit, Store


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
    made_with = embedder_of(store, embedder)
    if made_with is not None:
        from energy_plugin.library.embedders import load_embedder

        vector = load_embedder(made_with).encode_query(text)
    return answers(store, text, k, vector=vector, where=where, ranking=ranking)


def embedder_of(store: Store, given: str | None) -> str | None:
    """Name of the embedder that questions need; None where the host embeds them itself.

    Raises
    ------
    InvalidInputError
        Another one was given, or it is a class of the user's own that was not named.
    """
    from energy_plugin.library.embedders import is_class

    made_with = store.embedder_name
    if given is not None and given != (made_with or "compact"):
        raise InvalidInputError(
            f"--embedder is {given!r}, but {store.name!r} was embedded by "
            f"{made_with or 'compact'!r}. Leave the option out or give that one."
        )
    if made_with is not None and is_class(made_with) and given is None:
        raise InvalidInputError(
            f"{store.name!r} was embedded by the class {made_with}, which runs only if you "
            f"name it. Add: --embedder {made_with}"
        )
    return made_with


def answers(
    store: Store,
    text: str,
    k: int,
    *,
    vector: object = None,
    where: str | None = None,
    ranking: str | None = None,
) -> list[Hit]:
    """The rows of an open store nearest to a text; see `ask`.

    Parameters
    ----------
    vector : array of shape (d,), optional
        Of the question, where the host does not embed it itself.
    """
    if not text.strip():
        raise InvalidInputError("The question is empty. Give some words.")
    try:
        with commands_as_remedies(store.path, store.name):
            chosen = ranking or default_ranking(store)
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


def default_ranking(store: Store) -> str:
    """Hybrid where the words of the texts are indexed, energy elsewhere."""
    return "hybrid" if store.has_words else "energy"
