"""theta^S: dense parameters, embedding tables, and the working copy of a patch of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from training.ranks import Ranks


@dataclass
class Parameters:
    """The parameters of a model, split by how they are trained.

    Attributes:
        dense: parameters that every batch trains, by their names in the module.
        tables: embedding tables, shape (rows, dim): a batch trains only the rows that its ids name.
        frozen: tables that are looked up and never trained.
        feature_of: for each table the feature whose values are its row numbers. The union of `tables` and
            `frozen` are its keys.
        ids: for each feature the global row numbers of the rows in `tables` and `frozen`, sorted, where those
            are a patch's share; empty where the tables are whole.
    """

    dense: dict[str, Tensor]
    tables: dict[str, Tensor]
    frozen: dict[str, Tensor]
    feature_of: Mapping[str, str]
    ids: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module) -> "Parameters":
        """The parameters of `model`, whose attribute `tables` maps the names of tables to features."""
        named = {name: parameter.detach() for name, parameter in model.named_parameters()}
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        return cls(
            dense={name: value for name, value in named.items() if name not in model.tables},
            tables={name: named[name] for name in model.tables if name not in frozen},
            frozen={name: named[name] for name in model.tables if name in frozen},
            feature_of=dict(model.tables),
        )

    @property
    def features(self) -> list[str]:
        """The features that are row numbers of tables."""
        return sorted(set(self.feature_of.values()))

    def trained(self) -> dict[str, Tensor]:
        return {**self.dense, **self.tables}

    def tables_of(self, feature: str) -> dict[str, Tensor]:
        """The trained tables that `feature` looks up."""
        return {name: table for name, table in self.tables.items() if self.feature_of[name] == feature}

    def pull(self, ids: dict[str, Tensor]) -> "Parameters":
        """A copy to train on, with only the rows of `ids` (sorted, by feature): the dynamic cache of Fig. 7."""

        def rows(tables: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: table[ids[self.feature_of[name]]] for name, table in tables.items()}

        dense = {name: value.clone() for name, value in self.dense.items()}
        return Parameters(dense, rows(self.tables), rows(self.frozen), self.feature_of, ids)

    def push(self, walker: "Parameters", rate: float, ranks: Ranks) -> None:
        """theta += rate * mean over ranks of (walker - theta); a row's mean is over the ranks that pulled it."""
        steps = ranks.mean("push.dense", {name: walker.dense[name] - self.dense[name] for name in self.dense})
        for name, step in steps.items():
            self.dense[name].add_(step, alpha=rate)
        for feature, ids in walker.ids.items():
            moved = {name: walker.tables[name] - table[ids] for name, table in self.tables_of(feature).items()}
            all_ids, sums, counts = ranks.sum_rows(f"push.{feature}", ids, moved)
            for name, total in sums.items():
                self.tables[name].index_add_(0, all_ids, total / counts.unsqueeze(1), alpha=rate)

    def copy_(self, other: Mapping[str, Tensor]) -> None:
        """Takes over the values of `other`, by name."""
        for name, value in self.trained().items():
            value.copy_(other[name])

    def clone_trained(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.trained().items()}
