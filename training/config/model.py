"""Holds the section `model`: the backbone and its sizes."""

from dataclasses import dataclass, field

from training.config.rules import require, require_above_zero, require_at_least_one


@dataclass
class ModelConfig:
    """Holds the settings of the backbones; each is part of a model's name."""

    name: str = "mlp"  # a name in training/models, or the import path of your own module
    embedding_dim: int = 16
    embedding_scale: float = 0.05  # the standard deviation that embeddings are initialized with
    hidden: list[int] = field(default_factory=lambda: [256, 128, 64])  # of mmoe, cgc and ple: those of each expert
    dropout: float = 0.5
    pooling: str = "mean"  # of sequences: mean | attention (DIN)
    tower: list[int] = field(default_factory=lambda: [64])  # hidden layers of a domain; star: of its auxiliary network
    experts: int = 2  # mmoe, cgc, ple: shared by all domains
    specific_experts: int = 1  # cgc, ple: of each domain
    levels: int = 2  # ple: stacked extraction networks; autoint: stacked interacting layers
    heads: int = 4  # autoint: of an interacting layer
    user_vectors: str | None = None  # a Delta table (key, vector): frozen instead of learned user embeddings
    item_vectors: str | None = None

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require_at_least_one(self, "model", "embedding_dim", "experts", "specific_experts", "levels", "heads")
        for name in ("hidden", "tower"):
            require(min(getattr(self, name), default=1) >= 1, f"model.{name}", "a list of sizes, each at least 1")
        require(self.pooling in ("mean", "attention"), "model.pooling", "mean or attention")
        require_above_zero(self, "model", "embedding_scale")
        require(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1")
