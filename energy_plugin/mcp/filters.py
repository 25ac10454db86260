"""One language of filters for agents, whichever host stands behind: Chroma's ``where``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from energy_plugin.errors import InvalidInputError

_COMPARED = {"$eq": "=", "$ne": "<>", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_JOINED = {"$and": " AND ", "$or": " OR "}


def as_where(host: str, filters: Mapping[str, Any] | None, sources: list[str] | None) -> str | None:
    """A filter in the host's language; None where nothing is filtered.

    Parameters
    ----------
    host : {"chroma", "lancedb"}
    filters : mapping, optional
        ``{"year": 1990}``, ``{"year": {"$gte": 1990}}``, ``{"$or": [...]}``; several fields have
        to hold together.
    sources : list of str, optional
        Only rows of these files.

    Raises
    ------
    InvalidInputError
        An unknown operator or a value of another type.
    """
    parts: list[Mapping[str, Any]] = [{name: value} for name, value in (filters or {}).items()]
    if sources:
        parts.append({"source": {"$in": list(sources)}})
    if not parts:
        return None
    whole = parts[0] if len(parts) == 1 else {"$and": parts}
    condition = _condition(whole)  # checks it, for Chroma too
    return json.dumps(whole) if host == "chroma" else condition


def _condition(asked: Any) -> str:
    if not isinstance(asked, Mapping) or not asked:
        raise InvalidInputError(f"filters has {asked!r}, expected an object such as {{'year': 1}}")
    return " AND ".join(_one(name, value) for name, value in asked.items())


def _one(name: str, value: Any) -> str:
    if name in _JOINED:
        if not isinstance(value, list) or not value:
            raise InvalidInputError(f"filters: {name} has {value!r}, expected a list of filters")
        return "(" + _JOINED[name].join(_condition(each) for each in value) + ")"
    if name.startswith("$"):
        raise InvalidInputError(f"filters: unknown operator {name!r}; expected $and or $or here")
    column = "`" + name.replace("`", "``") + "`"
    if not isinstance(value, Mapping):
        return f"{column} = {_literal(value)}"
    return "(" + " AND ".join(_compared(column, op, each) for op, each in value.items()) + ")"


def _compared(column: str, operator: str, value: Any) -> str:
    if operator in _COMPARED:
        return f"{column} {_COMPARED[operator]} {_literal(value)}"
    if operator in ("$in", "$nin") and isinstance(value, list) and value:
        inside = ", ".join(_literal(each) for each in value)
        return f"{column} {'' if operator == '$in' else 'NOT '}IN ({inside})"
    raise InvalidInputError(
        f"filters: {operator!r} with {value!r}; expected one of {', '.join(_COMPARED)}, or $in or "
        "$nin with a list"
    )


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise InvalidInputError(f"filters has the value {value!r}, expected text, a number or a bool")
