"""Holds the sections `data` and `checks`: the log, its samples, and what a build must satisfy to be published."""

import re
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omegaconf import MISSING

from training.column_names import LENGTH, RESERVED
from training.config.rules import require, require_at_least_one
from training.errors import UserError

KINDS = ("category", "dense", "list", "sequence")
OWNERS = ("row", "user", "item")


@dataclass
class ColumnsConfig:
    """Names the columns of a csv, parquet or delta source; for movielens_1m it names the domain only."""

    user: str = "user"
    item: str = "item"
    domain: str = "domain"
    label: str | None = None  # absent: every row is a positive, and negatives are drawn
    time: str | None = None  # of equal rows the latest is kept
    event: str | None = None  # rows that differ here are not equal: (user, item, domain) may have several samples
    split: str | None = None  # holds train, val or test; absent: drawn by data.split


@dataclass
class FeatureConfig:
    """Describes a feature of the samples beside the ids; it is made from a column of the log."""

    kind: str = MISSING  # category | dense (a number) | list (of categories) | sequence (of item keys, newest last)
    of: str = "row"  # user | item: the latest value of each; row: the row's value, if the log has labels
    column: str | None = None  # absent: named as the feature
    length: int = 20  # of a list or sequence; a longer one keeps its last values
    separator: str = "|"  # splits a list or sequence that the log holds as one string

    def check(self, name: str, reserved: Set[str]) -> None:
        """Raises UserError if the feature cannot be built under `name`."""
        key = f"data.features.{name}"
        if name in reserved:
            raise UserError(f'config key "{key}": the tables have a column named {name}; rename the feature')
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UserError(f'config key "{key}": name the feature with lower-case letters, digits and _ instead')
        require(self.kind in KINDS, f"{key}.kind", f"one of {', '.join(KINDS)}")
        require(self.of in OWNERS, f"{key}.of", f"one of {', '.join(OWNERS)}")
        require_at_least_one(self, key, "length")
        require(bool(self.separator), f"{key}.separator", "at least one character long")


@dataclass
class SyntheticConfig:
    """Sizes the log of pipelines/generate_taobao_online.py; the defaults are all of Taobao-online (table I)."""

    domains: int = 69_102
    users: int = 84_307_785
    items: int = 16_385_662
    samples: int = 489_852_853
    conflict: float = 0.5  # the domains' share of the signal, 0 to 1
    noise: float = 0.0  # the share of labels that are flipped

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        require(0 <= self.conflict <= 1, "data.synthetic.conflict", "at least 0 and at most 1")
        require(0 <= self.noise <= 0.5, "data.synthetic.noise", "at least 0 and at most 0.5")
        for name in ("domains", "users", "items"):
            rule = f"at least 1 and at most data.synthetic.samples, {self.samples}"
            require(1 <= getattr(self, name) <= self.samples, f"data.synthetic.{name}", rule)
        require(self.samples < 2**31, "data.synthetic.samples", "below 2^31")


@dataclass
class DataConfig:
    """Holds the settings of the log and of the samples that are built from it."""

    source: str = MISSING  # a name in pipelines/sources
    path: str = MISSING
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    positive_at: float | None = None  # label = (value >= positive_at); absent: the column holds 0 and 1
    features: dict[str, FeatureConfig] = field(default_factory=dict)  # by name: beside user, item and domain ids
    domains: list[str] | None = None  # keep only these domain keys
    largest_domains: int | None = None  # keep only this many domains, those with the most rows
    user_share: float | None = None  # keep only this share of the users, chosen by a fixed hash of their keys
    ctr_ratio: float | None = None  # positives / samples where negatives are drawn; absent: drawn for each domain ...
    ctr_range: list[float] = field(default_factory=lambda: [0.2, 0.5])  # ... uniformly from this range
    split: list[float] = field(default_factory=lambda: [0.6, 0.2, 0.2])  # train, val, test
    split_at: list[str] | None = None  # instead: val and test start at these times (numbers or timestamps, UTC)
    since: str | None = None  # keep only rows from this time on ...
    until: str | None = None  # ... and before this time
    since_version: int | None = None  # of a delta source: keep only rows that later versions added
    incremental: bool = False  # append the log's new rows to the existing tables
    bucket_rows: int = 1_000_000  # the target size of a bucket
    head_rows: int | None = None  # a domain with more rows is a head domain; absent: half of bucket_rows
    scale: float = 1.0  # the share of users, items and samples that generate_taobao_online draws, of all domains
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)

    def check(self) -> None:
        """Raises UserError if a value is out of range, or two of them contradict each other."""
        lists = {name for name, feature in self.features.items() if feature.kind in ("list", "sequence")}
        for name, feature in self.features.items():
            feature.check(name, RESERVED | {LENGTH.format(other) for other in lists})
        ratios, split = self.ctr_range, self.split
        in_order = len(ratios) == 2 and 0 < ratios[0] <= ratios[1] <= 1
        require(in_order, "data.ctr_range", "two ratios, 0 < low <= high <= 1")
        require(self.ctr_ratio is None or 0 < self.ctr_ratio <= 1, "data.ctr_ratio", "above 0 and at most 1")
        require(
            len(split) == 3 and min(split) >= 0 and split[0] > 0 and abs(sum(split) - 1) < 1e-6,
            "data.split",
            "three shares (train, val, test) that add up to 1, the first above 0",
        )
        require(
            self.columns.split is None or self.columns.label is not None,
            "data.columns.split",
            "absent where data.columns.label is: negatives that are drawn have no split of their own",
        )
        times = [("split_at", time) for time in self.split_at or []]
        for key, time in (*times, ("since", self.since), ("until", self.until)):
            require(time is None or seconds_of(time) is not None, f"data.{key}", "a number or a timestamp")
        require(
            self.split_at is None or (len(self.split_at) == 2 and self.columns.split is None),
            "data.split_at",
            "two times, of val and of test, and absent where data.columns.split is given",
        )
        require(0 < self.scale <= 1, "data.scale", "above 0 and at most 1")
        require_at_least_one(self, "data", "bucket_rows")
        require(self.largest_domains is None or self.largest_domains >= 1, "data.largest_domains", "at least 1")
        require(self.user_share is None or 0 < self.user_share <= 1, "data.user_share", "above 0 and at most 1")
        require(self.head_rows is None or self.head_rows >= 0, "data.head_rows", "at least 0")
        self.synthetic.check()


@dataclass
class ChecksConfig:
    """Bounds what a build may change since the last one with the same data settings; see sql/checks."""

    vanished_domains: float = 0.5  # the share of the domains that may vanish
    label_rate: float = 0.2  # by how much the share of positives may differ

    def check(self) -> None:
        """Raises UserError if a value is out of range."""
        for name, value in vars(self).items():
            require(0 <= value <= 1, f"checks.{name}", "at least 0 and at most 1")


def seconds_of(time: str) -> float | None:
    """Returns a time as the log's times are read: a number, or a timestamp (UTC) as seconds since 1970.

    Returns None if it is neither.

    >>> seconds_of("12.5"), seconds_of("1970-01-02"), seconds_of("soon")
    (12.5, 86400.0, None)
    """
    try:
        return float(time)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
