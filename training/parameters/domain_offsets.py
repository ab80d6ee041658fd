"""theta^i: the offsets that domains add to theta^S, of one domain or stacked for a group of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.parameters.shared import SharedParameters

NO_ID = torch.iinfo(torch.int64).max  # pads lists of ids; larger than any


@dataclass
class DomainOffset:
    """theta^i of one domain.

    Attributes:
        dense: the offsets of all dense parameters, flat, in the order of `SharedParameters.dense`.
        ids: by vocabulary the ids that occur in the domain's training rows, sorted.
        rows: by table the offsets of those ids' rows, shape (ids, dim). All other rows have none.
    """

    dense: Tensor
    ids: dict[str, Tensor]
    rows: dict[str, Tensor]


@dataclass
class OffsetGroup:
    """theta^i of G domains, stacked.

    Attributes:
        dense: by name, shape (G, *shape).
        ids: by vocabulary, shape (G, R), sorted, padded with NO_ID.
        rows: by table, shape (G, R + 1, dim); the last row stands for every other id and stays zero.
    """

    dense: dict[str, Tensor]
    ids: dict[str, Tensor]
    rows: dict[str, Tensor]

    @classmethod
    def zeros(cls, theta: SharedParameters, ids: list[dict[str, Tensor]]) -> "OffsetGroup":
        """theta^i = 0 for domains whose training rows hold `ids`, by vocabulary."""
        size = len(ids)
        padded = {vocabulary: _pad([own[vocabulary] for own in ids]) for vocabulary in theta.features_of}
        return cls(
            {name: value.new_zeros(size, *value.shape) for name, value in theta.dense.items()},
            padded,
            {
                name: table.new_zeros(size, padded[theta.vocabulary_of[name]].shape[1] + 1, table.shape[1])
                for name, table in theta.tables.items()
            },
        )

    @classmethod
    def stack(cls, theta: SharedParameters, domains: list[DomainOffset]) -> "OffsetGroup":
        group = cls.zeros(theta, [domain.ids for domain in domains])
        group.dense = unflatten(torch.stack([domain.dense for domain in domains]), theta)
        for index, domain in enumerate(domains):
            for name, rows in domain.rows.items():
                group.rows[name][index, : len(rows)] = rows
        return group

    def unstack(self, theta: SharedParameters) -> list[DomainOffset]:
        size = len(self)
        dense = [value.reshape(size, -1) for value in self.dense.values()]
        dense = torch.cat(dense, dim=1) if dense else theta.like.new_empty(size, 0)
        domains = []
        for index in range(size):
            ids = {vocabulary: every[index][every[index] != NO_ID] for vocabulary, every in self.ids.items()}
            rows = {
                name: rows[index, : len(ids[theta.vocabulary_of[name]])].clone() for name, rows in self.rows.items()
            }
            domains.append(DomainOffset(dense[index].clone(), ids, rows))
        return domains

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is trained, by name; views, not copies."""
        return {**self.dense, **self.rows}

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def last(self, count: int) -> "OffsetGroup":
        """The last `count` domains; views, not copies."""

        def cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[-count:] for name, value in tensors.items()}

        return OffsetGroup(cut(self.dense), cut(self.ids), cut(self.rows))

    def clone(self) -> "OffsetGroup":
        return self.replaced({name: value.clone() for name, value in self.tensors().items()})

    def lerp_(self, other: "OffsetGroup", rate: float) -> None:
        """self += rate * (other - self)."""
        for name, value in self.tensors().items():
            value.lerp_(other.tensors()[name], rate)

    def replaced(self, tensors: dict[str, Tensor]) -> "OffsetGroup":
        """The group with other values, named as in `tensors()`."""
        return OffsetGroup(
            {name: tensors[name] for name in self.dense},
            self.ids,
            {name: tensors[name] for name in self.rows},
        )


def unflatten(flat: Tensor, theta: SharedParameters) -> dict[str, Tensor]:
    """Values for the dense parameters by name, shape (..., *shape), from shape (..., all values); views."""
    parts = flat.split([value.numel() for value in theta.dense.values()], dim=-1)
    return {
        name: part.view(*flat.shape[:-1], *value.shape)
        for (name, value), part in zip(theta.dense.items(), parts, strict=True)
    }


def _pad(lines: list[Tensor]) -> Tensor:
    """The lines one below the other, filled up with NO_ID (which pad_sequence, by way of a float, would change)."""
    padded = lines[0].new_full((len(lines), max(map(len, lines))), NO_ID)
    for index, line in enumerate(lines):
        padded[index, : len(line)] = line
    return padded
