"""Docstring → plain prose: what the object is and does, without markup, code or licence."""

from __future__ import annotations

import inspect
import re

MAX_CHARACTERS = 600
MIN_CHARACTERS = 40
_MIN_WORDS = 6

_RULE = re.compile(r"^\s*([=\-~^*#.+_`'\"])\1{2,}\s*$")
_SECTION = re.compile(
    r"^\s*(parameters|other parameters|returns?|yields?|receives|raises|warns|warnings|see also|"
    r"notes?|references|examples?|attributes|methods|args|arguments|keyword arguments|usage|"
    r"keyword args|kwargs|members|functions|classes|exceptions|contents)\s*:{0,2}\s*$",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"^\s*([:@](param|parameter|type|arg|argument|return|returns|rtype|raises?|keyword|var|ivar|"
    r"cvar|meta|copyright|license|author|since)\b"
    r"|__?(version|author|date|license|copyright)__?\b|(author|version|date)s?\s*:)",
    re.IGNORECASE,
)
_LEGAL = re.compile(
    r"copyright|\(c\)\s*\d{4}|licen[cs]e[ds]?\b|all rights reserved|permission (is|to) "
    r"|warrant(y|ies)|redistribut",
    re.IGNORECASE,
)
_ROLE = re.compile(r":[a-zA-Z:+]+:`[~!]?([^`]*?)\s*(?:<[^`>]*>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]+>`_{1,2}")
_TICKS = re.compile(r"(`{1,2})([^`]+)\1_{0,2}")
_STARS = re.compile(r"(?<![\w*])(\*{1,2})(\w[^*\n]*?\w|\w)\1(?![\w*])")
_REFERENCE = re.compile(r"\s?\[[\d\w]{1,4}\]_|\|([\w .]+)\|")
_BULLET = re.compile(r"^\s*[*+\-•]\s+")
_ASSIGNED_CALL = re.compile(r"^\w+ = [\w.]+\(.*\)$")
_CALL = re.compile(r"^[\w.]+\s*\(.*\)?\s*(?:->\s*[\w.,\[\]() |]+)?$")
_LEADS_NOWHERE = re.compile(r"(?<=[.!?])\s[^.!?]*:$")  # "Example:" without the example
_SENTENCE_END = re.compile(r"[.!?:;](?=\s|$)")


def prose(docstring: str, name: str = "") -> str:
    """Give the first paragraphs of a docstring as plain text.

    Parameters
    ----------
    docstring : str
        Raw, as in the source.
    name : str
        Name of the object; a line that only repeats its call is dropped.

    Returns
    -------
    str
        At most 600 characters, cut at the end of a sentence or paragraph; empty where
        nothing of 40 characters and six words is left.
    """
    text = ""
    for paragraph in _paragraphs(inspect.cleandoc(docstring), name):
        joined = f"{text} {paragraph}".strip()
        if len(joined) > MAX_CHARACTERS:
            text = text if len(text) >= MAX_CHARACTERS // 2 else _shorten(joined)
            break
        text = joined
    text = _LEADS_NOWHERE.sub("", text)
    enough = len(text) >= MIN_CHARACTERS and len(text.split()) >= _MIN_WORDS
    return text if enough else ""


def normalised(text: str) -> str:
    """Give the words of a text alone, for telling near duplicates."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _paragraphs(text: str, name: str) -> list[str]:
    found: list[str] = []
    for block in re.split(r"\n\s*\n", _without_directives(text)):
        lines = [line for line in block.splitlines() if line.strip()]
        kept: list[str] = []
        stop = False
        field = -1  # indentation of the field whose description is being dropped
        for i, line in enumerate(lines):
            indent = len(line) - len(line.lstrip())
            if field >= 0 and indent > field:
                continue
            field = indent if _FIELD.match(line) else -1
            underlined = i + 1 < len(lines) and _RULE.match(lines[i + 1]) is not None
            if _SECTION.match(line) and (found or kept or underlined):
                stop = True
                break
            if line.lstrip().startswith((">>>", "...", "$ ")):
                break  # the rest of the block is a session
            if field >= 0 or _RULE.match(line) or _is_call(line, name, first=not kept):
                continue
            kept.append(_BULLET.sub("", line))
        paragraph = _plain(" ".join(line.strip() for line in kept))
        if paragraph not in ("", name) and not _is_noise(lines, paragraph):
            found.append(paragraph)
        if stop:
            break
    return found


def _without_directives(text: str) -> str:
    """Drop ``.. name::`` blocks and literal blocks with their indented bodies."""
    kept: list[str] = []
    indent = -1  # of the line that opened the block being dropped
    for line in text.splitlines():
        here = len(line) - len(line.lstrip())
        if indent >= 0:
            if not line.strip() or here > indent:
                kept.append("")
                continue
            indent = -1
        if line.lstrip().startswith(".. "):
            indent = here
            kept.append("")
            continue
        if line.rstrip().endswith("::"):
            indent = here
            line = line.rstrip()[:-1]  # noqa: PLW2901 - "like this::" reads "like this:"
            if line.strip() == ":":
                continue
        kept.append(line)
    return "\n".join(kept)


def _is_call(line: str, name: str, *, first: bool) -> bool:
    """Tell whether a line only shows how the object is called."""
    short = name.rpartition(".")[2]
    stripped = line.strip()
    called = bool(short) and re.match(rf"^([\w.]+\.)?{re.escape(short)}\s*\(", stripped) is not None
    if called and (_CALL.match(stripped) or first):
        # "range(stop) -> range object", also with the description behind " -- "
        return " -- " not in stripped and not stripped.endswith(".")
    shown = _CALL.match(stripped) is not None and "->" in stripped
    return first and (shown or _ASSIGNED_CALL.match(stripped) is not None)


def _is_noise(lines: list[str], paragraph: str) -> bool:
    """Tell licences, tables, grammar and code from prose."""
    letters = sum(character.isalpha() or character.isspace() for character in paragraph)
    indented = all(line.startswith("    ") for line in lines)
    return (
        letters / len(paragraph) < 0.72
        or "::=" in paragraph
        or re.match(r"\w+ = [\w.]+\(", paragraph) is not None
        or _LEGAL.search(paragraph) is not None
        or (indented and re.search(r"[=(\[{]", paragraph) is not None)
    )


def _plain(text: str) -> str:
    text = _ROLE.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _TICKS.sub(r"\2", text)
    text = _STARS.sub(r"\2", text)
    text = _REFERENCE.sub(r"\1", text)
    text = text.replace("\\", "")
    return re.sub(r"\s+", " ", text).strip("+ ")


def _shorten(text: str) -> str:
    cut = text[:MAX_CHARACTERS]
    ends = [match.end() for match in _SENTENCE_END.finditer(cut)]
    if ends and ends[-1] >= MAX_CHARACTERS // 3:
        return cut[: ends[-1]]
    return cut.rpartition(" ")[0]
