"""Holds the sections of single jobs: `als`, `score`, `serve` and `promote`."""

from dataclasses import dataclass

from training.config.rules import require, require_above_zero, require_at_least_one


@dataclass
class ALSConfig:
    """Holds the settings of pipelines/als_vectors.py."""

    rank: int = 16  # the width of the vectors
    iterations: int = 10
    regularization: float = 0.1
    confidence: float = 10.0  # a positive weighs 1 + confidence times as much as a pair without interactions

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require_at_least_one(self, "als", "rank", "iterations")
        require_above_zero(self, "als", "regularization", "confidence")


@dataclass
class ScoreConfig:
    """Holds the settings of pipelines/score.py."""

    requests: str | None = None  # a Delta table (domain, user[, item]) of keys; absent: all users in all their domains
    top_k: int = 10  # items that are kept for a user in a domain
    promoted: bool = True  # score by the promoted models, if any; false: by the model of these settings

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require_at_least_one(self, "score", "top_k")


@dataclass
class ServeConfig:
    """Holds the settings of pipelines/export_model.py."""

    cached_domains: int = 1000  # domains whose theta^i the served model keeps in memory

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require_at_least_one(self, "serve", "cached_domains")


@dataclass
class PromoteConfig:
    """Holds the settings of pipelines/promote.py."""

    margin: float = 0.002  # in mean-domain AUC: by how much a model may be worse than the one that is served
    domain: str | None = None  # a domain's key: decide for that one; absent: for all
    back_to: str | None = None  # an earlier promoted model_version, to be served again

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require(self.margin >= 0, "promote.margin", "at least 0")
