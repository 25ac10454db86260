"""The memory of an agent in Chroma: it recalls by energy, and old memories fade.

Run with ``python examples/chroma_memory.py [folder]``. Without a folder nothing is kept.

Nothing that was remembered disappears: text, time and Chroma's own vector stay. What an old
memory loses is the fineness of its energy column, so that it takes less room in the field and
is told from its neighbours less sharply, until it is written again.
"""

import sys
from datetime import datetime, timedelta, timezone

import chromadb
from energy_chroma import EnergyCollection, OpticalEmbeddingFunction

from energy_plugin.energy import EnergyConfig
from energy_plugin.forgetting import Schedule

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
MEMORIES = [  # days ago, what happened
    (1, "The user wants answers in French from now on."),
    (2, "The deployment of the shop failed because a certificate had expired."),
    (9, "The user prefers short answers with a code example."),
    (20, "The tests of the payment module are flaky on Mondays."),
    (45, "The database of the shop was moved to a larger machine."),
    (60, "The user is travelling in Japan and answers late."),
    (120, "The old billing system was switched off."),
    (200, "A certificate of the mail server had to be renewed by hand."),
    (400, "The project started with a prototype on one laptop."),
    (500, "The first customer asked for invoices as PDF."),
]


class Memory:
    """What an agent remembers.

    Parameters
    ----------
    client : chromadb client
    """

    def __init__(self, client: chromadb.ClientAPI) -> None:
        collection = client.get_or_create_collection(
            "memory", embedding_function=OpticalEmbeddingFunction()
        )
        self._energy = EnergyCollection(collection)

    def remember(self, text: str, when: datetime) -> None:
        """Store one memory; the same text again counts as of now."""
        self._energy.upsert(ids=[text], documents=[text], metadatas=[{"when": when.isoformat()}])

    def settle(self) -> None:
        """Learn the energy field, once there is something to learn it from."""
        self._energy.build(EnergyConfig(bits=8))

    def recall(self, question: str, count: int = 2) -> list[str]:
        """The memories nearest to a question."""
        found = self._energy.query(query_texts=[question], n_results=count)
        return list(found["documents"][0])

    def sleep(self, now: datetime, *, dry_run: bool) -> str:
        """Let old memories fade: 8 bits a dimension for a month, then 4, 2 and 1."""
        plan = self._energy.forget(
            now, time_key="when", schedule=Schedule.of([30, 90, 365]), dry_run=dry_run
        )
        return f"{len(plan.rows)} of {len(plan)} memories fade, {plan.bytes_saved} bytes less"


def main() -> None:
    """Remember, recall, sleep, recall again."""
    client = chromadb.PersistentClient(sys.argv[1]) if sys.argv[1:] else chromadb.EphemeralClient()
    memory = Memory(client)
    for days, text in MEMORIES:
        memory.remember(text, NOW - timedelta(days=days))
    memory.settle()

    print("recalled:", *memory.recall("problems with a certificate"), sep="\n  ")
    print("would happen:", memory.sleep(NOW, dry_run=True))
    print("happened:", memory.sleep(NOW, dry_run=False))
    print("again:", memory.sleep(NOW, dry_run=False))

    # what matters again is remembered anew, with all its bits
    memory.remember("The project started with a prototype on one laptop.", NOW)
    print("later:", memory.sleep(NOW + timedelta(days=31), dry_run=True))
    print("recalled:", *memory.recall("problems with a certificate"), sep="\n  ")


if __name__ == "__main__":
    main()
