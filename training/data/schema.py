"""Describes the columns of a sample: ids, further features, and the vocabulary that each looks up."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from training.column_names import IDS, LABEL, LENGTH


@dataclass(frozen=True)
class Feature:
    """Describes a feature, which is a column of the samples table.

    Attributes:
        name: the name of the column.
        kind: id | category | dense | list | sequence.
        vocabulary: the feature that numbers the ids: its own name, or item_id for a sequence of items. None for a dense
            feature, which holds numbers.
        size: the number of ids in the vocabulary; values are 0 to size - 1.
        length: the length that lists and sequences are padded to, and 0 for other kinds. The column NAME_length has the
            number of values before the padding.
    """

    name: str
    kind: str
    vocabulary: str | None
    size: int = 0
    length: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns that hold the feature."""
        return (self.name, LENGTH.format(self.name)) if self.length else (self.name,)


@dataclass(frozen=True)
class Schema:
    """Describes the features of the samples, ids first."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, sizes: dict[str, int], further: Iterable[Feature] = ()) -> "Schema":
        """Returns a schema of user_id, item_id, domain_id and `further` features; `sizes` has the number of each id.

        >>> Schema.of({"user_id": 40, "item_id": 25, "domain_id": 12}).columns
        ('user_id', 'item_id', 'domain_id', 'label')
        """
        return cls((*(Feature(name, "id", name, sizes[name]) for name in IDS), *further))

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns that the trainer reads: those of all features, and the label."""
        return (*(column for feature in self.features for column in feature.columns), LABEL)

    @property
    def vocabularies(self) -> dict[str, str]:
        """Returns the vocabulary of each feature that holds ids, by the feature's name."""
        return {feature.name: feature.vocabulary for feature in self.features if feature.vocabulary is not None}

    @property
    def sizes(self) -> dict[str, int]:
        """Returns the number of ids in each vocabulary."""
        return {feature.name: feature.size for feature in self.features if feature.vocabulary == feature.name}

    def with_one_id(self, vocabularies: Iterable[str]) -> "Schema":
        """Returns the same features with a single id in each of these vocabularies.

        A model built from it allocates next to nothing for tables that are sharded.
        """
        names = set(vocabularies)
        return Schema(
            tuple(replace(feature, size=1) if feature.vocabulary in names else feature for feature in self.features)
        )

    def to_json(self) -> list[dict]:
        """Returns the features as values that JSON can hold."""
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_json(cls, features: list[dict]) -> "Schema":
        """Restores a schema from the result of `to_json`."""
        return cls(tuple(Feature(**feature) for feature in features))
