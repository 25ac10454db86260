"""Every command: where its module is, and the line that help shows of it.

A command's module is imported when it runs, so that ``--help`` starts at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One command or group of commands.

    Parameters
    ----------
    module : str
        Below ``energy_plugin.cli``; it has a function ``command``, or an ``app`` of its own.
    help : str
        One line.
    section : str
        Heading in the list of commands.
    """

    module: str
    help: str
    section: str


_EVERY_DAY, _UPKEEP, _MEASURE = "Everyday", "Upkeep", "Measure"
_RANKING, _ENCODER, _SPEED = "Ranking", "Encoder", "Speed"

COMMANDS: dict[str, Entry] = {
    "index": Entry("index", "Index a folder of files, or bring its index up to date.", _EVERY_DAY),
    "search": Entry("search", "Search an index.", _EVERY_DAY),
    "watch": Entry("watch", "Keep an index up to date while files change.", _EVERY_DAY),
    "compare": Entry("compare", "Compare rankings on your own documents.", _EVERY_DAY),
    "mcp": Entry("mcp", "Serve an index to agents (Model Context Protocol).", _EVERY_DAY),
    "report": Entry("report", "Write a one-page report about an index.", _EVERY_DAY),
    "info": Entry("info", "Show what an index holds.", _EVERY_DAY),
    "demo": Entry("demo", "Try both databases on this machine's own documentation.", _EVERY_DAY),
    "verify": Entry("verify", "Check an index for damage, and repair it.", _UPKEEP),
    "forget": Entry("forget", "Store old rows with less precision.", _UPKEEP),
    "refit": Entry("refit", "Fit a new energy field to the rows.", _UPKEEP),
    "maintain": Entry("maintain", "Adapt the energy field to changed rows.", _UPKEEP),
    "eval": Entry("evaluate", "Score rankings on judged collections.", _MEASURE),
    "lab": Entry("lab.group", "Experiments: tune, sweep, train, benchmark.", _MEASURE),
}

LAB: dict[str, Entry] = {
    "sweep": Entry("lab.sweep", "Measure a grid of settings.", _RANKING),
    "tune": Entry("lab.tune", "Choose settings for one collection.", _RANKING),
    "study": Entry(
        "lab.study", "Measure drift, rare documents, duplicates and outliers.", _RANKING
    ),
    "fidelity": Entry("lab.fidelity", "Measure what forgetting costs.", _RANKING),
    "train": Entry("lab.train", "Train the compact encoder.", _ENCODER),
    "train-print": Entry("lab.train_print", "Train the recogniser of print.", _ENCODER),
    "stages": Entry("lab.stages", "Score the encoder stage by stage.", _ENCODER),
    "robustness": Entry("lab.robustness", "Score the encoder on noisy questions.", _ENCODER),
    "sts": Entry("lab.sts", "Compare sentence similarity with human scores.", _ENCODER),
    "compression": Entry("lab.compression", "Measure text per vision token.", _ENCODER),
    "probe": Entry("lab.probe", "Measure which words vectors still tell.", _ENCODER),
    "render": Entry("lab.render", "Write a text's page images.", _ENCODER),
    "weights": Entry("lab.weights", "Inspect and export published weights.", _ENCODER),
    "bench": Entry(
        "lab.bench", "Compare recall, search times and upkeep with other engines.", _SPEED
    ),
    "bench-chroma": Entry("lab.bench_chroma", "Time energy ranking in Chroma.", _SPEED),
    "bench-lancedb": Entry("lab.bench_lancedb", "Time energy ranking in LanceDB.", _SPEED),
    "bench-encoder": Entry("lab.bench_encoder", "Time the encoders.", _SPEED),
    "bench-map": Entry("lab.bench_map", "Time the Ray build of a large table.", _SPEED),
}
