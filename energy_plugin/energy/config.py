"""Every setting of the energy field, as JSON primitives."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any

from energy_plugin.errors import InvalidInputError

FORMAT_VERSION = 2
MOST_ANCHORS = 1 << 15  # the anchor graph is dense while it is used: 4 GiB
BIT_CHOICES = (1, 2, 4, 8)
LARGEST = 1 << 62  # of any setting
NO_LEVEL = 1e6  # a `mean_level` that no collection reaches
# What format version 1 did not know, set so that its fields rank as they did.
_VERSION_1 = {"mean_level": NO_LEVEL}
TAU_MODES = ("median", "mean", "percentile", "fixed")


@dataclass(frozen=True)
class EnergyConfig:
    """Settings of an energy field. The defaults are one recipe for every collection.

    Metric strength, heat and number of anchors adapt to each collection, without labels.
    """

    # -- tessellation
    n_anchors: int | None = None  # Voronoi cells; None: about 4·sqrt(n)
    anchor_steps: int = 6  # annealing steps of k-means
    anchor_trim: float = 0.1  # share of a cell's farthest rows that annealing leaves out
    anchor_budget: int | None = None  # optical compression to this many anchors; None: off
    anchor_split: float = 0.0  # share of the anchors, of highest dispersion, that are split
    seed: int = 0  # of everything random

    # -- row graph
    neighbours: int = 8  # k, nearest rows of a row (fewer in collections below 8·k rows)

    # -- Dirichlet metric
    centring: float = 0.5  # share of the mean row that is subtracted
    mean_level: float = 0.55  # rows are first centred until m̄ is at most this share of 1 − m̄
    metric_exponent: float = 0.5  # M = (C/mean eigenvalue + γI)^(−exponent)
    gamma_floor: float = 0.6  # γ = floor + slope / ν⁴, ν the similarity inside neighbourhoods
    gamma_slope: float = 0.027
    full_strength: float = 0.25  # t = min(1, ν / full_strength) scales every heat

    # -- heat flow
    heat: float = 0.175  # η of the stored rows, times t
    local_heat: float = 0.7  # η of the one-way flow in the query's graph, times t
    query_heat: float = 0.2  # η of the query in its graph, times t
    weight_power: float = 3.0  # an edge weighs max(0, cos)^power

    # -- residual codes
    bits: int = 4  # bits a dimension: 1, 2, 4 or 8

    # -- taumode
    affinity_anchors: int = 8  # anchors that carry a vector's signal, neighbours of an anchor
    anchor_heat: float = 0.2  # η of the diffusion over the anchors
    anchor_heat_steps: int = 2
    tau_mode: str = "median"  # of the energies of the fitted rows; or "fixed"
    tau: float = 0.5  # τ itself if fixed, the percentile as a share if "percentile"
    alpha: float = 0.7  # λ = α·E/(E+τ) + (1−α)·G

    # -- energy distance
    weight_lambda: float = 0.0005
    weight_dispersion: float = 0.0
    weight_dirichlet: float = 1.0

    # -- words, where a search is given lexical scores
    lexical_heat: float = 0.5  # η of the query in its graph, times t, in place of query_heat
    lexical_flow: float = 0.3  # η of the lexical scores in the query's graph, times t
    lexical_floor: float = 0.16  # share of the words where they find what the vectors find
    lexical_slope: float = 0.32  # and how much more where they find something else

    # -- search
    pool: int = 200  # candidates of the query's graph; a result beyond them keeps its base order
    local_neighbours: int = 8  # nearest candidates of a candidate
    query_neighbours: int = 3  # candidates that heat flows from into the query
    exhaustive_rows: int = 20_000  # up to here every row is scored exactly
    probe_share: float = 0.1  # of the rows scored beyond that, in the nearest cells

    def __post_init__(self) -> None:
        for field in fields(self):
            # numbers of numpy become Python's own, so that the configuration stays JSON
            value = _plain(field.name, str(field.type), getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        checks = (
            (
                self.n_anchors is None or 1 <= self.n_anchors <= MOST_ANCHORS,
                f"n_anchors must be None or lie in 1 to {MOST_ANCHORS}",
            ),
            (self.bits in BIT_CHOICES, f"bits must be one of {BIT_CHOICES}"),
            (self.tau_mode in TAU_MODES, f"tau_mode must be one of {TAU_MODES}"),
            (
                self.anchor_budget is None or self.anchor_budget >= 1,
                "anchor_budget must be None or at least 1",
            ),
            (0 <= self.anchor_trim < 1, "anchor_trim must lie in [0, 1)"),
            (0 <= self.anchor_split <= 1, "anchor_split must lie in [0, 1]"),
            (self.anchor_steps >= 1, "anchor_steps must be at least 1"),
            (self.neighbours >= 1, "neighbours must be at least 1"),
            (self.affinity_anchors >= 1, "affinity_anchors must be at least 1"),
            (self.local_neighbours >= 1, "local_neighbours must be at least 1"),
            (self.query_neighbours >= 1, "query_neighbours must be at least 1"),
            (self.pool >= 1, "pool must be at least 1"),
            (self.anchor_heat_steps >= 0, "anchor_heat_steps must not be negative"),
            (0 <= self.centring <= 1, "centring must lie in [0, 1]"),
            (self.mean_level > 0, "mean_level must be positive"),
            (0 <= self.lexical_heat < 1, "lexical_heat must lie in [0, 1)"),
            (0 <= self.lexical_flow < 1, "lexical_flow must lie in [0, 1)"),
            (0 <= self.lexical_floor <= 1, "lexical_floor must lie in [0, 1]"),
            (
                0 <= self.lexical_slope <= 1 - self.lexical_floor,
                "lexical_slope must lie in [0, 1 − lexical_floor]",
            ),
            (0 <= self.metric_exponent <= 1, "metric_exponent must lie in [0, 1]"),
            (self.gamma_floor > 0, "gamma_floor must be positive"),
            (self.gamma_slope >= 0, "gamma_slope must not be negative"),
            (self.full_strength > 0, "full_strength must be positive"),
            (0 <= self.heat < 1, "heat must lie in [0, 1)"),
            (0 <= self.local_heat < 1, "local_heat must lie in [0, 1)"),
            (0 <= self.query_heat < 1, "query_heat must lie in [0, 1)"),
            (0 <= self.anchor_heat < 1, "anchor_heat must lie in [0, 1)"),
            (self.weight_power > 0, "weight_power must be positive"),
            (self.tau > 0, "tau must be positive"),
            (0 <= self.alpha <= 1, "alpha must lie in [0, 1]"),
            (min(self.weights) >= 0 and max(self.weights) > 0, "weights must not be negative"),
            (self.exhaustive_rows >= 0, "exhaustive_rows must not be negative"),
            (0 < self.probe_share <= 1, "probe_share must lie in (0, 1]"),
            (self.seed >= 0, "seed must not be negative"),
        )
        for ok, message in checks:
            if not ok:
                raise InvalidInputError(f"EnergyConfig: {message}; got {self!r}.")

    @property
    def weights(self) -> tuple[float, float, float]:
        """(w_λ, w_G, w_D)."""
        return (self.weight_lambda, self.weight_dispersion, self.weight_dirichlet)

    @classmethod
    def preset(cls, name: str = "default", **changes: Any) -> EnergyConfig:
        """A named configuration, with changes.

        Parameters
        ----------
        name : {"default", "arrowspace"}
            "arrowspace" has the weights of that reference (λ 1.0, G 0.5, D 0.25), for comparison.

        Raises
        ------
        InvalidInputError
            Unknown name, or an unknown setting.
        """
        cls.refuse_unknown(changes)
        if name == "default":
            return cls(**changes)
        if name == "arrowspace":
            weights = {"weight_lambda": 1.0, "weight_dispersion": 0.5, "weight_dirichlet": 0.25}
            return cls(**{**weights, **changes})
        raise InvalidInputError(f"Unknown preset {name!r}; expected 'default' or 'arrowspace'.")

    @classmethod
    def plain(cls, residual_bits: int = 4, **changes: Any) -> EnergyConfig:
        """The codec alone, to measure it: no metric, no heat, no query's graph, no λ or G.

        Rows are ranked by the Euclidean distance of their decoded unit vectors.

        Parameters
        ----------
        residual_bits : {1, 2, 4, 8}, default 4
            Bits per dimension.

        Raises
        ------
        InvalidInputError
            Another number of bits, or an unknown setting.
        """
        cls.refuse_unknown(changes)
        off: dict[str, Any] = {
            "centring": 0.0,
            "mean_level": NO_LEVEL,
            "metric_exponent": 0.0,
            "heat": 0.0,
            "local_heat": 0.0,
            "query_heat": 0.0,
            "weight_lambda": 0.0,
            "weight_dispersion": 0.0,
        }
        return cls(**{**off, "bits": residual_bits, **changes})

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives, with the format version."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EnergyConfig:
        """The configuration that `to_dict` described.

        Raises
        ------
        InvalidInputError
            Not a mapping, another format version, or unknown keys.
        """
        if not isinstance(data, Mapping):
            raise InvalidInputError(
                f"EnergyConfig.from_dict got {data!r}, expected a mapping as from to_dict()."
            )
        values = dict(data)
        version = values.pop("format_version", None)
        if version == 1:
            cls.refuse_unknown(values)
            values = {**_VERSION_1, **values}
        elif version != FORMAT_VERSION:
            raise InvalidInputError(
                f"EnergyConfig has format version {version!r}, expected {FORMAT_VERSION}: another "
                "release of energy-plugin wrote it. Upgrade if that is newer, or create it again."
            )
        cls.refuse_unknown(values)
        return cls(**values)

    @classmethod
    def refuse_unknown(cls, names: Iterable[str]) -> None:
        """Check names of settings.

        Raises
        ------
        InvalidInputError
            One is not a setting.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(map(str, set(names) - set(known)))
        if unknown:
            raise InvalidInputError(
                f"EnergyConfig has unknown keys {unknown}; expected some of {known}."
            )


def as_config(config: Any) -> EnergyConfig:
    """Check a configuration; None is the default recipe.

    Raises
    ------
    InvalidInputError
        Not an `EnergyConfig`.
    """
    if config is None:
        return EnergyConfig()
    if not isinstance(config, EnergyConfig):
        raise InvalidInputError(
            f"config must be an EnergyConfig or None, got {type(config).__name__} {config!r}. "
            "Write EnergyConfig(bits=2), or EnergyConfig.preset('arrowspace')."
        )
    return config


def _plain(name: str, kind: str, value: Any) -> Any:
    """The value as a JSON primitive of the declared kind."""
    if value is None and kind == "int | None":
        return None
    if kind == "str":
        if isinstance(value, str):
            return str(value)
        expected = "a string"
    elif kind == "float":
        with contextlib.suppress(OverflowError):
            if _is_number(value) and math.isfinite(value) and abs(value) < LARGEST:
                return float(value)
        expected = "a finite number below 2⁶²"
    else:
        with contextlib.suppress(TypeError):
            if _is_number(value) and abs(operator.index(value)) < LARGEST:
                return operator.index(value)
        expected = "an integer of less than 62 bits"
    raise InvalidInputError(f"EnergyConfig: {name} must be {expected}; got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
