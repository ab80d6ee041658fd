"""Holds theta^i: the offsets that a domain adds to theta^S, for one domain or stacked for a group of domains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from training.parameters.shared import SharedParameters

NO_ID = torch.iinfo(torch.int64).max  # pads lists of ids; larger than any id


@dataclass
class DomainOffset:
    """Holds theta^i of one domain.

    Attributes:
        dense: the offsets of all dense parameters, flat, in the order of `SharedParameters.dense`.
        ids: by vocabulary the sorted ids that occur in the domain's training rows.
        rows: by table the offsets of these ids' rows, shape (ids, dim). All other rows have no offset.
    """

    dense: Tensor
    ids: dict[str, Tensor]
    rows: dict[str, Tensor]

    @classmethod
    def zeros(cls, theta: "SharedParameters", ids: dict[str, Tensor]) -> "DomainOffset":
        """Returns theta^i = 0 for a domain whose training rows hold `ids` (by vocabulary)."""
        return cls(
            theta.like.new_zeros(sum(value.numel() for value in theta.dense.values())),
            ids,
            {
                name: theta.like.new_zeros(len(ids[theta.vocabulary_of[name]]), table.shape[1])
                for name, table in theta.tables.items()
            },
        )


@dataclass
class OffsetGroup:
    """Holds theta^i of G domains, stacked.

    Attributes:
        dense: by name, shape (G, *shape).
        ids: by vocabulary, shape (G, R), sorted, padded with NO_ID.
        rows: by table, shape (G, R + 1, dim). The last row belongs to all other ids and stays zero.
    """

    dense: dict[str, Tensor]
    ids: dict[str, Tensor]
    rows: dict[str, Tensor]

    @classmethod
    def zeros(cls, theta: "SharedParameters", ids: list[dict[str, Tensor]]) -> "OffsetGroup":
        """Returns theta^i = 0 for domains whose training rows hold `ids` (by vocabulary)."""
        size = len(ids)
        padded = {vocabulary: _pad([domain_ids[vocabulary] for domain_ids in ids]) for vocabulary in theta.features_of}
        return cls(
            {name: value.new_zeros(size, *value.shape) for name, value in theta.dense.items()},
            padded,
            {
                name: theta.like.new_zeros(size, padded[theta.vocabulary_of[name]].shape[1] + 1, table.shape[1])
                for name, table in theta.tables.items()
            },
        )

    @classmethod
    def stack(cls, theta: "SharedParameters", domains: list[DomainOffset]) -> "OffsetGroup":
        """Returns a group with copies of the domains' offsets."""
        group = cls.zeros(theta, [domain.ids for domain in domains])
        group.dense = unflatten(torch.stack([domain.dense for domain in domains]), theta)
        for index, domain in enumerate(domains):
            for name, rows in domain.rows.items():
                group.rows[name][index, : len(rows)] = rows
        return group

    def unstack(self, theta: "SharedParameters") -> list[DomainOffset]:
        """Returns copies of the offsets of each domain."""
        size = len(self)
        flat = [value.reshape(size, -1) for value in self.dense.values()]
        dense = torch.cat(flat, dim=1) if flat else theta.like.new_empty(size, 0)
        domains = []
        for index in range(size):
            ids = {vocabulary: padded[index][padded[index] != NO_ID] for vocabulary, padded in self.ids.items()}
            rows = {
                name: rows[index, : len(ids[theta.vocabulary_of[name]])].clone() for name, rows in self.rows.items()
            }
            domains.append(DomainOffset(dense[index].clone(), ids, rows))
        return domains

    def tensors(self) -> dict[str, Tensor]:
        """Returns the trained tensors by name, without copying them."""
        return {**self.dense, **self.rows}

    def __len__(self) -> int:
        """Returns the number of domains."""
        return len(next(iter(self.tensors().values())))

    def last(self, count: int) -> "OffsetGroup":
        """Returns views of the last `count` domains."""

        def cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[-count:] for name, value in tensors.items()}

        return OffsetGroup(cut(self.dense), cut(self.ids), cut(self.rows))

    def clone(self) -> "OffsetGroup":
        """Returns a group with copies of the offsets and the same ids."""
        return self.with_tensors({name: value.clone() for name, value in self.tensors().items()})

    def lerp_(self, other: "OffsetGroup", rate: float) -> None:
        """Moves the offsets towards those of `other`: self += rate * (other - self)."""
        for name, value in self.tensors().items():
            value.lerp_(other.tensors()[name], rate)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> "OffsetGroup":
        """Returns a group with the same ids and other values, named as in `tensors()`."""
        return OffsetGroup(
            {name: tensors[name] for name in self.dense},
            self.ids,
            {name: tensors[name] for name in self.rows},
        )


def unflatten(flat: Tensor, theta: "SharedParameters") -> dict[str, Tensor]:
    """Splits flat values of all dense parameters, shape (..., values), into views by name, shape (..., *shape)."""
    pieces = flat.split([value.numel() for value in theta.dense.values()], dim=-1)
    return {
        name: piece.view(*flat.shape[:-1], *value.shape)
        for (name, value), piece in zip(theta.dense.items(), pieces, strict=True)
    }


def _pad(lines: list[Tensor]) -> Tensor:
    """Stacks lines of ids, padded with NO_ID. torch's pad_sequence takes the padding as a float, which changes it."""
    padded = lines[0].new_full((len(lines), max(map(len, lines))), NO_ID)
    for index, line in enumerate(lines):
        padded[index, : len(line)] = line
    return padded
