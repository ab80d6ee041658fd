"""Holds the section `training`: how a run proceeds."""

from dataclasses import dataclass, field

from training.config.rules import require, require_at_least_one


@dataclass
class TrainingConfig:
    """Holds the settings of the loop. All but those in IN_NO_NAME are part of a model's name."""

    epochs: int = 50  # the most
    warm_start: bool = False  # start from the newest earlier version's model with these settings
    patience: int = 3  # epochs without a better validation AUC before early stopping
    batch_size: int = 1024
    rounds_per_epoch: int = 1
    pack: bool = True  # small domains share a batch; false: every batch is pure in its domain
    sharded: list[str] = field(default_factory=list)  # vocabularies whose tables are sharded over ranks, e.g. [user_id]
    cache_rows: int = 20_000_000  # of sharded tables, the most rows that a rank caches; patches are cut to fit
    device: str = "auto"  # auto | cpu | cuda

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require_at_least_one(self, "training", "epochs", "batch_size", "rounds_per_epoch", "patience", "cache_rows")
        require(self.device in ("auto", "cpu", "cuda"), "training.device", "auto, cpu or cuda")
        require(
            "domain_id" not in self.sharded,
            "training.sharded",
            "without domain_id: a table with a row for each domain holds weights, and is whole on every rank",
        )


IN_NO_NAME = ("epochs", "device")  # a longer run resumes a shorter one, and any device computes the same model
