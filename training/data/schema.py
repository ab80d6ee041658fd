"""What a sample consists of: ids, further features, and the vocabularies that their values number."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from training.column_names import IDS, LABEL, LENGTH


@dataclass(frozen=True)
class Feature:
    """A column of the samples table.

    Attributes:
        name: of the column.
        kind: id | category | dense | list | sequence.
        vocabulary: the feature whose ids its values are (its own name, or item_id for a sequence of items);
            None for dense, which has numbers.
        size: the ids of the vocabulary: values are 0 .. size - 1.
        length: of a list or sequence, which is filled up to it; column NAME_length tells how many values are real.
    """

    name: str
    kind: str
    vocabulary: str | None
    size: int = 0
    length: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name, LENGTH.format(self.name)) if self.length else (self.name,)


@dataclass(frozen=True)
class Schema:
    """The features of the samples, ids first."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, sizes: dict[str, int], further: Iterable[Feature] = ()) -> "Schema":
        """A schema of user_id, item_id and domain_id with so many ids each, and further features."""
        return cls((*(Feature(name, "id", name, sizes[name]) for name in IDS), *further))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the trainer reads."""
        return (*(column for feature in self.features for column in feature.columns), LABEL)

    @property
    def vocabularies(self) -> dict[str, str]:
        """{feature: vocabulary} of the features that hold ids."""
        return {feature.name: feature.vocabulary for feature in self.features if feature.vocabulary is not None}

    @property
    def sizes(self) -> dict[str, int]:
        """{vocabulary: the number of its ids}."""
        return {feature.name: feature.size for feature in self.features if feature.vocabulary == feature.name}

    def with_one_id(self, vocabularies: Iterable[str]) -> "Schema":
        """The same features, with a single id in each of these vocabularies."""
        names = set(vocabularies)
        return Schema(
            tuple(replace(feature, size=1) if feature.vocabulary in names else feature for feature in self.features)
        )

    def to_json(self) -> list[dict]:
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_json(cls, features: list[dict]) -> "Schema":
        return cls(tuple(Feature(**feature) for feature in features))
