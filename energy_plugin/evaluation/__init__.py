"""Judged collections, ranking measures and comparisons of cosine with energy."""

from __future__ import annotations

from energy_plugin.evaluation.collection import JudgedCollection, load_collection
from energy_plugin.evaluation.compare import Comparison, compare
from energy_plugin.evaluation.measures import MEASURES, Scores, measure
from energy_plugin.evaluation.ranking import rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.report import SetReport, evaluate
from energy_plugin.evaluation.sts import SentencePairs, load_pairs, spearman
from energy_plugin.evaluation.vectors import CollectionVectors, embed_collection, load_vectors

__all__ = [
    "MEASURES",
    "CollectionVectors",
    "Comparison",
    "JudgedCollection",
    "Scores",
    "SentencePairs",
    "SetReport",
    "compare",
    "embed_collection",
    "evaluate",
    "load_collection",
    "load_pairs",
    "load_vectors",
    "measure",
    "rank_by_cosine",
    "rank_by_energy",
    "spearman",
]
