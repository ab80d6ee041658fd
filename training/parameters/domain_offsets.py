"""theta^i: the offsets that domains add to theta^S, of one domain or stacked for a group of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import embedding

from training.parameters.shared import Parameters

NO_ID = torch.iinfo(torch.int64).max  # pads lists of ids; larger than any


@dataclass
class Specific:
    """theta^i of one domain.

    Attributes:
        dense: the offsets of all dense parameters, flat, in the order of `Parameters.dense`.
        ids: by vocabulary the ids that occur in the domain's training rows, sorted.
        rows: by table the offsets of those ids' rows, shape (ids, dim). All other rows have none.
    """

    dense: Tensor
    ids: dict[str, Tensor]
    rows: dict[str, Tensor]


@dataclass
class Group:
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
    def zeros(cls, theta: Parameters, ids: list[dict[str, Tensor]]) -> "Group":
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
    def stack(cls, theta: Parameters, domains: list[Specific]) -> "Group":
        group = cls.zeros(theta, [domain.ids for domain in domains])
        group.dense = unflatten(torch.stack([domain.dense for domain in domains]), theta)
        for index, domain in enumerate(domains):
            for name, rows in domain.rows.items():
                group.rows[name][index, : len(rows)] = rows
        return group

    def unstack(self, theta: Parameters) -> list[Specific]:
        size = len(self)
        dense = [value.reshape(size, -1) for value in self.dense.values()]
        dense = torch.cat(dense, dim=1) if dense else theta.like.new_empty(size, 0)
        domains = []
        for index in range(size):
            ids = {vocabulary: every[index][every[index] != NO_ID] for vocabulary, every in self.ids.items()}
            rows = {
                name: rows[index, : len(ids[theta.vocabulary_of[name]])].clone() for name, rows in self.rows.items()
            }
            domains.append(Specific(dense[index].clone(), ids, rows))
        return domains

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is trained, by name; views, not copies."""
        return {**self.dense, **self.rows}

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def last(self, count: int) -> "Group":
        """The last `count` domains; views, not copies."""

        def cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[-count:] for name, value in tensors.items()}

        return Group(cut(self.dense), cut(self.ids), cut(self.rows))

    def clone(self) -> "Group":
        return self.replaced({name: value.clone() for name, value in self.tensors().items()})

    def lerp_(self, other: "Group", rate: float) -> None:
        """self += rate * (other - self)."""
        for name, value in self.tensors().items():
            value.lerp_(other.tensors()[name], rate)

    def replaced(self, tensors: dict[str, Tensor]) -> "Group":
        """The group with other values, named as in `tensors()`."""
        return Group(
            {name: tensors[name] for name in self.dense},
            self.ids,
            {name: tensors[name] for name in self.rows},
        )


def unflatten(flat: Tensor, theta: Parameters) -> dict[str, Tensor]:
    """Values for the dense parameters by name, shape (..., *shape), from shape (..., all values); views."""
    parts = flat.split([value.numel() for value in theta.dense.values()], dim=-1)
    return {
        name: part.view(*flat.shape[:-1], *value.shape)
        for (name, value), part in zip(theta.dense.items(), parts, strict=True)
    }


def group_logits(model: nn.Module, theta: Parameters, group: Group, features: dict[str, Tensor]) -> Tensor:
    """The logits of theta^S + theta^i for rows of each domain of a group, side by side by vmap.

    Args:
        features: by name, shape (G, rows, ...); ids are global.

    Returns:
        shape (G, rows).

    Every looked-up row is gathered first, one for each id of each sample, so the module sees tables of as many rows as
    a line has ids, numbered 0, 1, 2, ...; of what is looked up by domain it sees one row, for a line is of one domain.
    """
    dense = {name: theta.dense[name] + offset for name, offset in group.dense.items()}
    wanted, numbers = _number_lines(features, theta.features_of)
    looked_up = theta.rows({**theta.frozen, **theta.statistics}, wanted)
    for name, table in theta.tables.items():
        vocabulary = theta.vocabulary_of[name]
        places = _places(group.ids[vocabulary], wanted[vocabulary])
        looked_up[name] = table[wanted[vocabulary]] + embedding(places, group.rows[name].flatten(0, 1))
    others = {name: value for name, value in features.items() if name not in numbers}

    def one(dense: dict, looked_up: dict, others: dict) -> Tensor:
        return functional_call(model, {**dense, **looked_up}, ({**others, **numbers},))

    return vmap(one, randomness="different")(dense, looked_up, others)


def _number_lines(
    features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By vocabulary the ids (G, n) to look up for each line, and by feature their numbers, the same in all lines."""
    wanted, numbers = {}, {}
    for vocabulary, names in features_of.items():
        if vocabulary == "domain_id":
            wanted[vocabulary] = features[vocabulary][:, :1].contiguous()
            numbers[vocabulary] = torch.zeros_like(features[vocabulary][0])
            continue
        flat = [features[name].flatten(1) for name in names]
        wanted[vocabulary] = torch.cat(flat, dim=1)
        places = torch.arange(wanted[vocabulary].shape[1], device=flat[0].device)
        for name, part in zip(names, places.split([one.shape[1] for one in flat]), strict=True):
            numbers[name] = part.view(features[name].shape[1:])
    return wanted, numbers


def _pad(lines: list[Tensor]) -> Tensor:
    """The lines one below the other, filled up with NO_ID (which pad_sequence, by way of a float, would change)."""
    padded = lines[0].new_full((len(lines), max(map(len, lines))), NO_ID)
    for index, line in enumerate(lines):
        padded[index, : len(line)] = line
    return padded


def _places(ids: Tensor, wanted: Tensor) -> Tensor:
    """Where each of `wanted` (G, n) stands in a flattened (G, R + 1) table with rows for `ids` (G, R)."""
    count = ids.shape[1]
    place = torch.searchsorted(ids, wanted)
    found = torch.cat([ids, ids.new_full((len(ids), 1), NO_ID)], dim=1).gather(1, place) == wanted
    starts = torch.arange(len(ids), device=ids.device).unsqueeze(1) * (count + 1)
    return starts + torch.where(found, place, count)
