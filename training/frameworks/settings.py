"""What a round needs to know of the configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    batch_size: int
    pack: bool  # small domains share a batch
    outer_lr: float  # beta of Algorithm 1
