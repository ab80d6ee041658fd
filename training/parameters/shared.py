"""theta^S: dense parameters, embedding tables, and the working copy of a patch of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from training.data.id_numbering import distinct_ids, features_by_vocabulary
from training.distributed.ranks import Ranks
from training.parameters.adam import Moments
from training.parameters.remote_tables import PulledTable, Table
from training.parameters.table_shards import Shard

FIRST, SECOND = "first.", "second."  # the moments of a sharded table, as tables of its shard


@dataclass
class SharedParameters:
    """The parameters of a model, split by how they are trained.

    Attributes:
        dense: parameters that every batch trains, by their names in the module.
        tables: embedding tables, shape (rows, dim): a batch trains only the rows that its ids name. Those of a model
            that is only read may be elsewhere.
        frozen: tables that are looked up and never trained.
        statistics: what forward passes in training mode change in place, such as running means: dense buffers, and
            tables with a row for each id.
        vocabulary_of: for each table the vocabulary whose ids are its row numbers.
        features_of: for each such vocabulary the features that hold its ids.
        ids: for each vocabulary the global row numbers of the rows in the tables, sorted, where those are a patch's
            share; empty where the tables are whole.
        shards: by vocabulary, tables that no rank has whole; those are not in `tables`.
        static: of a copy to train on, by sharded table, its rows as they were pulled: the static cache of Fig. 7.
    """

    dense: dict[str, Tensor]
    tables: dict[str, Table]
    frozen: dict[str, Tensor]
    statistics: dict[str, Tensor]
    vocabulary_of: Mapping[str, str]
    features_of: Mapping[str, tuple[str, ...]]
    ids: dict[str, Tensor] = field(default_factory=dict)
    shards: dict[str, Shard] = field(default_factory=dict)
    static: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, shards: dict[str, Shard] | None = None) -> "SharedParameters":
        """The parameters of `model`; see training/models/__init__.py for what a model says of its tables.

        Of tables that are sharded the module has a single row, which is not used.
        """
        shards = shards or {}
        tables = model.tables
        elsewhere = {name for name, vocabulary in tables.items() if vocabulary in shards}
        named = {name: parameter.detach() for name, parameter in model.named_parameters()}
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        return cls(
            dense={name: value for name, value in named.items() if name in trained and name not in tables},
            tables={name: named[name] for name in tables if name in trained - elsewhere},
            frozen={name: named[name] for name in tables if name in named and name not in trained},
            statistics={name: value for name, value in model.named_buffers() if value.is_floating_point()},
            vocabulary_of=dict(tables),
            features_of=features_by_vocabulary(model.vocabularies, set(tables.values())),
            shards=shards,
        )

    @property
    def like(self) -> Tensor:
        """Some trained tensor, for its dtype and device."""
        return next(iter({**self.dense, **self.tables}.values()))

    def trained(self) -> dict[str, Tensor]:
        """Everything that training changes."""
        return {**self.dense, **self.tables, **self.statistics}

    def tables_of(self, vocabulary: str) -> dict[str, Tensor]:
        """The tables that learn by gradients and are looked up by ids of `vocabulary`."""
        return {name: table for name, table in self.tables.items() if self.vocabulary_of[name] == vocabulary}

    def rows(self, tables: Mapping[str, Table], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies of the rows `ids` (by vocabulary) of those of `tables` that are looked up."""
        return {
            name: table[ids[self.vocabulary_of[name]]] for name, table in tables.items() if name in self.vocabulary_of
        }

    def write_rows(self, rows: Mapping[str, Tensor], ids: Mapping[str, Tensor]) -> None:
        """Puts rows that `rows()` copied from the statistics back into them."""
        for name in self.statistics.keys() & self.vocabulary_of.keys():
            self.statistics[name].index_copy_(0, ids[self.vocabulary_of[name]], rows[name])

    def pull(self, ids: dict[str, Tensor]) -> "SharedParameters":
        """A copy to train on, with only the rows of `ids` (sorted, by vocabulary): the dynamic cache of Fig. 7.

        Where there are shards, every rank must call it.
        """
        dense_statistics = {name: value for name, value in self.statistics.items() if name not in self.vocabulary_of}
        static = self._sharded_rows(ids)
        return SharedParameters(
            _clone(self.dense),
            self.rows(self.tables, ids) | _clone(static),
            self.rows(self.frozen, ids),
            _clone(dense_statistics) | self.rows(self.statistics, ids),
            self.vocabulary_of,
            self.features_of,
            ids,
            static=static,
        )

    def push(self, walker: "SharedParameters", rate: float, ranks: Ranks) -> None:
        """theta += rate * mean over ranks of (walker - theta); a row's mean is over the ranks that pulled it."""
        ranks.wait()
        own, walked = self.trained(), walker.trained()
        dense = [name for name in own if name not in self.vocabulary_of]
        steps = ranks.mean("push.dense", {name: walked[name] - own[name] for name in dense})
        for name, step in steps.items():
            own[name].add_(step, alpha=rate)
        for vocabulary, ids in walker.ids.items():
            of_vocabulary = [name for name in own if self.vocabulary_of.get(name) == vocabulary]
            if of_vocabulary:
                moved = {name: walked[name] - own[name][ids] for name in of_vocabulary}
                all_ids, sums, counts = ranks.sum_rows(f"push.{vocabulary}", ids, moved)
                for name, total in sums.items():
                    own[name].index_add_(0, all_ids, total / counts.unsqueeze(1), alpha=rate)
        self.push_rows(walker, walked, rate)

    def push_rows(self, walker: "SharedParameters", rows: Mapping[str, Tensor], rate: float) -> None:
        """The same for sharded tables alone, from what `walker` pulled of them to `rows`."""
        for vocabulary, shard in self.shards.items():
            moved = {name: rows[name] - walker.static[name] for name in shard.dims if name in walker.static}
            shard.push(walker.ids[vocabulary], moved, rate)

    def cache(self, ids: dict[str, Tensor], moments: Moments) -> "SharedParameters":
        """These parameters, with a copy of the rows of `ids` in place of the tables that are sharded.

        Adam's moments of those rows lie beside them, and are put into `moments`. Every rank must call it.
        """
        if not self.shards:
            return self
        names = [name for vocabulary in self.shards for name in self.sharded_tables(vocabulary)]
        for name in names:
            shard = self.shards[self.vocabulary_of[name]]
            for prefix in (FIRST, SECOND):
                shard.add(prefix + name, shard.dims[name], scale=0)
        static = self._sharded_rows(ids, ("", FIRST, SECOND))
        moments.first |= {name: static[FIRST + name].clone() for name in names}
        moments.second |= {name: static[SECOND + name].clone() for name in names}
        tables = {name: static[name].clone() for name in names}
        own_ids = {vocabulary: ids[vocabulary] for vocabulary in self.shards}
        return replace(self, tables=self.tables | tables, ids=own_ids, shards={}, static=static)

    def write_back(self, cache: "SharedParameters", moments: Moments) -> None:
        """Gives the owners of sharded rows what became of `cache`, and takes their moments out of `moments`."""
        now = dict(cache.tables)
        for vocabulary in self.shards:
            for name in self.sharded_tables(vocabulary):
                now[FIRST + name], now[SECOND + name] = moments.first.pop(name), moments.second.pop(name)
        self.push_rows(cache, now, 1.0)

    def for_reading(self, features: Mapping[str, Tensor]) -> "SharedParameters":
        """These parameters to read, with what `features` look up in sharded tables. Every rank must call it."""
        tables = dict(self.tables)
        ids = distinct_ids(features, {vocabulary: self.features_of[vocabulary] for vocabulary in self.shards})
        for name, rows in self._sharded_rows(ids).items():
            tables[name] = PulledTable(ids[self.vocabulary_of[name]], rows)
        return replace(self, tables=tables, shards={})

    def _sharded_rows(self, ids: Mapping[str, Tensor], prefixes: Sequence[str] = ("",)) -> dict[str, Tensor]:
        """The rows of `ids` of sharded tables, and of those beside them whose names have other prefixes."""
        rows = {}
        for vocabulary, shard in self.shards.items():
            names = [prefix + name for name in self.sharded_tables(vocabulary) for prefix in prefixes]
            rows |= shard.pull(ids[vocabulary], names)
        return {name: value.to(self.like) for name, value in rows.items()}

    def sharded_tables(self, vocabulary: str) -> list[str]:
        """The sharded tables that are looked up by ids of `vocabulary`."""
        return [name for name, of in self.vocabulary_of.items() if of == vocabulary and vocabulary in self.shards]

    def copy_(self, other: Mapping[str, Tensor]) -> None:
        """Takes over the values of `other`, by name."""
        for name, value in self.trained().items():
            value.copy_(other[name])

    def clone_trained(self) -> dict[str, Tensor]:
        return _clone(self.trained())


def _clone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}
