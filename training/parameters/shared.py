"""Holds theta^S: dense parameters, embedding tables, and working copies of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from training.data.id_numbering import distinct_ids, features_by_vocabulary
from training.parameters.embedding_model import embedding_model
from training.parameters.remote_tables import PulledTable, Table
from training.parameters.table_shards import Shard


@dataclass
class SharedParameters:
    """Holds the parameters of a model, split by how they are trained.

    Attributes:
        dense: the parameters that every batch trains, by their names in the module.
        tables: embedding tables, shape (rows, dim), of which a batch trains only the rows of its ids. They are
            tensors, except in parameters that are only read.
        frozen: tables that are looked up but never trained.
        statistics: buffers that forward passes in training mode change in place, such as running means. Some are
            tables with a row for each id.
        vocabulary_of: for each table the vocabulary whose ids are its row numbers.
        features_of: for each vocabulary the features that hold its ids.
        ids: for each vocabulary the sorted ids of the rows in the tables, in a copy that holds only the rows of a
            patch. Empty if the tables are whole.
        shards: by vocabulary, the sharded tables. They are not in `tables`.
        pulled: in a copy to train on, the rows of sharded tables as they were pulled (the static cache of Fig. 7).
    """

    dense: dict[str, Tensor]
    tables: dict[str, Table]
    frozen: dict[str, Tensor]
    statistics: dict[str, Tensor]
    vocabulary_of: Mapping[str, str]
    features_of: Mapping[str, tuple[str, ...]]
    ids: dict[str, Tensor] = field(default_factory=dict)
    shards: dict[str, Shard] = field(default_factory=dict)
    pulled: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, shards: dict[str, Shard] | None = None) -> "SharedParameters":
        """Returns the parameters of `model`, which share their memory with it.

        training/models/__init__.py describes how a model declares its tables. Of a sharded table the module has a
        single row, which is not used.
        """
        shards = shards or {}
        vocabulary_of = dict(embedding_model(model).tables)
        sharded = {name for name, vocabulary in vocabulary_of.items() if vocabulary in shards}
        values = {name: parameter.detach() for name, parameter in model.named_parameters()}
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        return cls(
            dense={name: value for name, value in values.items() if name in trained and name not in vocabulary_of},
            tables={name: values[name] for name in vocabulary_of if name in trained - sharded},
            frozen={name: values[name] for name in vocabulary_of if name in values and name not in trained},
            statistics={name: value for name, value in model.named_buffers() if value.is_floating_point()},
            vocabulary_of=vocabulary_of,
            features_of=features_by_vocabulary(embedding_model(model).vocabularies, set(vocabulary_of.values())),
            shards=shards,
        )

    @property
    def local_tables(self) -> dict[str, Tensor]:
        """Returns the tables that are tensors, which can be trained in place."""
        return {name: table for name, table in self.tables.items() if isinstance(table, Tensor)}

    @property
    def like(self) -> Tensor:
        """Returns some trained tensor, for its dtype and device."""
        return next(iter({**self.dense, **self.local_tables}.values()))

    def trained(self) -> dict[str, Tensor]:
        """Returns all tensors that training changes, by name."""
        return {**self.dense, **self.local_tables, **self.statistics}

    def tables_of(self, vocabulary: str) -> dict[str, Tensor]:
        """Returns the trainable tables that are looked up by ids of `vocabulary`."""
        return {name: table for name, table in self.local_tables.items() if self.vocabulary_of[name] == vocabulary}

    def sharded_tables(self, vocabulary: str) -> list[str]:
        """Returns the names of the sharded tables that are looked up by ids of `vocabulary`."""
        return [name for name, of in self.vocabulary_of.items() if of == vocabulary and vocabulary in self.shards]

    def rows(self, tables: Mapping[str, Table], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies the rows `ids` (by vocabulary) of those `tables` that are looked up by ids."""
        return {
            name: table[ids[self.vocabulary_of[name]]] for name, table in tables.items() if name in self.vocabulary_of
        }

    def write_statistics(self, rows: Mapping[str, Tensor], ids: Mapping[str, Tensor]) -> None:
        """Writes rows that `rows()` copied from the statistics back to them."""
        for name in self.statistics.keys() & self.vocabulary_of.keys():
            self.statistics[name].index_copy_(0, ids[self.vocabulary_of[name]], rows[name])

    def pull(self, ids: dict[str, Tensor]) -> "SharedParameters":
        """Returns a copy to train on that holds only the rows `ids` of tables (the dynamic cache of Fig. 7).

        With sharded tables, every rank must call it.

        Args:
            ids: sorted, by vocabulary.
        """
        dense_statistics = {name: value for name, value in self.statistics.items() if name not in self.vocabulary_of}
        pulled = self.pull_sharded(ids)
        return SharedParameters(
            dense=_clone(self.dense),
            tables={**self.rows(self.tables, ids), **_clone(pulled)},
            frozen=self.rows(self.frozen, ids),
            statistics=_clone(dense_statistics) | self.rows(self.statistics, ids),
            vocabulary_of=self.vocabulary_of,
            features_of=self.features_of,
            ids=ids,
            pulled=pulled,
        )

    def for_reading(self, features: Mapping[str, Tensor]) -> "SharedParameters":
        """Returns these parameters with the rows of sharded tables that `features` look up. Every rank must call it."""
        tables = dict(self.tables)
        ids = distinct_ids(features, {vocabulary: self.features_of[vocabulary] for vocabulary in self.shards})
        for name, rows in self.pull_sharded(ids).items():
            tables[name] = PulledTable(ids[self.vocabulary_of[name]], rows)
        return replace(self, tables=tables, shards={})

    def pull_sharded(self, ids: Mapping[str, Tensor], prefixes: Sequence[str] = ("",)) -> dict[str, Tensor]:
        """Fetches the rows `ids` of sharded tables from their owners. Every rank must call it.

        Args:
            ids: by vocabulary.
            prefixes: select the tables of the shard that are named by a prefix and the name of a table; Adam's
                moments are such tables.
        """
        rows: dict[str, Tensor] = {}
        for vocabulary, shard in self.shards.items():
            names = [prefix + name for name in self.sharded_tables(vocabulary) for prefix in prefixes]
            rows |= shard.pull(ids[vocabulary], names)
        return {name: value.to(self.like) for name, value in rows.items()}

    def copy_(self, other: Mapping[str, Tensor]) -> None:
        """Overwrites all trained tensors with the values in `other`, by name."""
        for name, value in self.trained().items():
            value.copy_(other[name])

    def clone_trained(self) -> dict[str, Tensor]:
        """Returns copies of all trained tensors, by name."""
        return _clone(self.trained())


def _clone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}
