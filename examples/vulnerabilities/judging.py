"""Queries with judged answers, and the measures of a ranking.

By weakness, a text answers a query if it describes that class of weakness. By identity, a query
is another description of one vulnerability, and the text of that vulnerability is its one answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from records import Record

# CWE: (query, words that name the weakness). The first three are the published queries.
CLASSES = {
    "22": ("authenticated arbitrary file read path traversal", r"(directory|path) traversal"),
    "94": (
        "remote code execution in ERP web component",
        r"remote code execution|(PHP|code|eval|template) injection|"
        r"(remote|local) file inclusion|execute arbitrary PHP code",
    ),
    "89": ("SQL injection in login endpoint", r"SQL injection"),
    "79": (
        "script put into a web page runs in the browser of another user",
        r"cross[- ]site[- ]scripting|\bXSS\b",
    ),
    "352": (
        "a forged request makes a logged-in user change settings unknowingly",
        r"cross[- ]site request forgery|\bCSRF\b",
    ),
    "119": (
        "copying too much data past the end of memory",
        r"buffer overflow|buffer overrun|out-of-bounds write",
    ),
    "416": ("memory is used after it was freed", r"use[- ]after[- ]free"),
    "190": ("arithmetic wraps around and a size becomes too small", r"integer (over|under)flow"),
    "611": ("a parser loads external entities of a document", r"XML external entit\w+|\bXXE\b"),
    "918": (
        "the server is made to send requests to internal hosts",
        r"server[- ]side request forgery|\bSSRF\b",
    ),
    "134": ("untrusted input becomes the format of printf", r"format string"),
    "476": ("crash by following an empty pointer", r"NULL pointer dereference"),
    "601": ("a crafted link sends users to a phishing site", r"open redirect\w*"),
    "78": (
        "shell metacharacters in a parameter run operating system commands",
        r"(OS |shell )?command injection|shell metacharacters",
    ),
    "434": ("uploading an executable file to the web server", r"unrestricted (file )?upload"),
    "798": (
        "a default password is built into the device",
        r"hard-?coded (credential|password|key)s?",
    ),
    "362": ("two threads change the same resource at once", r"race condition"),
}
PUBLISHED = ("22", "94", "89")
KIN = {  # classes of CWE that are kinds of one above
    **dict.fromkeys(("23", "35", "36"), "22"),
    **dict.fromkeys(("95", "96", "98", "1336"), "94"),
    **dict.fromkeys(("120", "121", "122", "787"), "119"),
    **dict.fromkeys(("77", "88"), "78"),
    **dict.fromkeys(("191", "680"), "190"),
    "80": "79",
    "321": "798",
}
FILE = re.compile(  # a program or source file that a text names
    r"\b[\w-]+\.(?:php|aspx?|jsp|cgi|pl|c|cpp|cc|cfm|exe|dll|sys|py|js|html?|ocx)\b", re.IGNORECASE
)
VERSION = re.compile(r"\b\d+(?:\.\d+)+\w*")
WORD = re.compile(r"[a-z0-9](?:[\w.-]*[a-z0-9])?")


def named(text: str) -> frozenset[str]:
    """The classes that a text names."""
    return frozenset(c for c, (_, words) in CLASSES.items() if re.search(words, text, re.I))


def known(numbers: Iterable[str]) -> frozenset[str]:
    """CWE numbers as classes of `CLASSES`."""
    plain = (number.removeprefix("CWE-") for number in numbers)
    return frozenset({KIN.get(number, number) for number in plain} & CLASSES.keys())


def without_weakness(text: str) -> str:
    """A text without the words that name a weakness."""
    for _, words in CLASSES.values():
        text = re.sub(words, "", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def without_identity(text: str) -> str:
    """A text without the file names and versions that tell which vulnerability it is."""
    return " ".join(VERSION.sub("", FILE.sub("", text)).split())


def by_name(texts: Sequence[Record], titles: Sequence[Record]) -> dict[int, str]:
    """Titles by the text with the same CVE number; a title that fits two texts is left out."""
    rows = defaultdict(set)
    for row, record in enumerate(texts):
        for name in record.names:
            rows[name].add(row)
    pairs = {}
    for title in titles:
        found = set().union(*(rows[name] for name in title.names if name in rows))
        if title.title and len(found) == 1:
            pairs.setdefault(found.pop(), title.title)
    return pairs


def by_product(texts: Sequence[Record], titles: Sequence[Record]) -> dict[int, str]:
    """Titles by the one text that names the same product, file and versions.

    For files without CVE numbers. The product is the first word of the title, and at most one text
    in a hundred names it. The title names a file; its classes of weakness, if it names any, are
    among those of the text. A title that fits no text or several is left out, and a text keeps its
    first title.
    """
    rows = defaultdict(list)
    words = [frozenset(WORD.findall(record.text.lower())) for record in texts]
    common = Counter(word for each in words for word in each)
    for row, record in enumerate(texts):
        for file in {name.lower() for name in FILE.findall(record.text)}:
            rows[file].append(row)
    pairs: dict[int, str] = {}
    for title in titles:
        files, first = FILE.findall(title.text), re.match(r"[A-Z][\w-]*", title.text)
        product = first.group().lower() if first else ""
        if not files or len(title.text.split()) > 20 or common[product] > len(texts) / 100:
            continue
        found = [
            row
            for row in rows.get(files[0].lower(), [])
            if product in words[row]
            and all(version in texts[row].text for version in VERSION.findall(title.text))
            and title.weaknesses <= texts[row].weaknesses
        ]
        if len(found) == 1:
            pairs.setdefault(found[0], title.text)
    return pairs


def halves(text: str) -> tuple[str, str]:
    """The first sentence of a text and the rest; no first sentence if there is only one."""
    first, _, rest = text.partition(". ")
    return (f"{first}.", rest) if len(first.split()) > 4 and len(rest.split()) > 4 else ("", text)


def scores(ranking: np.ndarray, judged: Sequence[set[int]]) -> dict[str, np.ndarray]:
    """MRR, MAP@20, nDCG@10, recall@10 and recall@20 of each query."""
    import ir_measures as ir

    wanted = {"MRR": ir.RR, "MAP@20": ir.AP @ 20, "nDCG@10": ir.nDCG @ 10}
    wanted |= {"recall@10": ir.R @ 10, "recall@20": ir.R @ 20}
    qrels = {str(q): {str(row): 1 for row in rows} for q, rows in enumerate(judged)}
    run = {
        str(q): {str(row): float(-place) for place, row in enumerate(rows) if row >= 0}
        for q, rows in enumerate(ranking.tolist())
    }
    out = {name: np.zeros(len(judged)) for name in wanted}
    names = {measure: name for name, measure in wanted.items()}
    for each in ir.iter_calc(list(wanted.values()), qrels, run):
        out[names[each.measure]][int(each.query_id)] = each.value
    return out
