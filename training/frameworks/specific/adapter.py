"""Learns theta^i of many domains against one theta^S, in groups of domains of similar size."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.config.framework_settings import FrameworkSettings
from training.data.columns import Columns
from training.data.domain_rows import DomainRows
from training.data.id_numbering import distinct_ids
from training.files.atomic_write import atomic_write
from training.frameworks.common.registry import find_specific
from training.frameworks.specific.group_round import GroupContext
from training.frameworks.specific.helper_rows import HelperRows
from training.metrics import domain_auc
from training.parameters.domain_offsets import DomainOffset, OffsetGroup
from training.parameters.forward import MOST_DOMAINS, predict_group
from training.parameters.frozen_statistics import frozen_statistics

if TYPE_CHECKING:
    from training.parameters.shared import SharedParameters

MOST_ROWS = 32_768  # at most so many rows in a step of a group


class Keep(Enum):
    """Selects the rounds after which `Adapter.adapt` returns a domain's offsets."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass
class AdaptedDomain:
    """Holds the result of a domain's adaptation.

    Attributes:
        offsets: theta^i by round, counted from 1, for the rounds that `Adapter.adapt` was asked to keep.
        val_auc: the validation AUC of theta^S, then after each round, shape (rounds + 1,). NaN if the domain's
            validation rows have a single class.
    """

    domain_id: int
    rows_train: int
    rows_val: int
    offsets: dict[int, DomainOffset]
    val_auc: np.ndarray


def copy_adapter(source: Path, target: Path) -> None:
    """Copies the files that `Adapter.save` and dr_longtail.py wrote from one model's folder to another's.

    Existing files in `target` stay as they are.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if not (target / file.name).exists():
            with atomic_write(target / file.name) as temporary:
                shutil.copyfile(file, temporary)


class Adapter:
    """Learns theta^i against one theta^S, whose statistics stay as they are.

    Attributes:
        directions: what the framework "subspace" mixes, shape (rank, values in the dense parameters).
    """

    directions: Tensor | None = None

    def __init__(
        self, model: nn.Module, theta: "SharedParameters", helpers: HelperRows, settings: FrameworkSettings
    ) -> None:
        """Converts the helper rows to tensors.

        Args:
            model: the backbone.
            theta: theta^S, on the device to train on.
            helpers: the rows of helper domains.
            settings: how theta^i is learned.
        """
        self.model, self.theta, self.helpers, self.settings = model, theta, helpers, settings
        self._dtype, self._device = theta.like.dtype, theta.like.device
        self._helper_rows = DomainRows(helpers.columns, self._dtype, self._device)

    def adapt(
        self,
        train: Columns,
        val: Columns,
        rounds: Mapping[int, int],
        keep: Keep,
        start: Mapping[int, DomainOffset] | None = None,
        rounds_done: int = 0,
    ) -> Iterator[AdaptedDomain]:
        """Adapts domains in groups and scores each round on `val`.

        Args:
            train: the training rows, in any order.
            val: the validation rows, in any order.
            rounds: the number of rounds by domain_id. Domains without training rows are skipped.
            keep: the rounds after which offsets are returned.
            start: offsets to continue from by domain_id; the others start at zero.
            rounds_done: the number of rounds that `start` has had. Random draws depend on the number of a round.

        Yields:
            The adapted domains, in no particular order.
        """
        train_rows, val_rows = (DomainRows(columns, self._dtype, self._device) for columns in (train, val))
        rounds = {domain: count for domain, count in rounds.items() if domain in train_rows.rows_of}
        for domains in self._groups(train_rows, rounds):
            yield from self._adapt_group(
                domains, train_rows, val_rows, rounds[domains[0]], keep, start or {}, rounds_done
            )

    def save(self, folder: Path) -> None:
        """Saves what Spark tasks need besides theta^S to the folder of a model.

        The helper file is written last, so its presence means that the folder is complete.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.directions is not None:
            with atomic_write(_directions_path(folder)) as temporary:
                save_file({"directions": self.directions.cpu()}, temporary)
        self.helpers.save(helpers_path(folder))

    @classmethod
    def load(cls, folder: Path, model: nn.Module, theta: "SharedParameters", settings: FrameworkSettings) -> "Adapter":
        """Returns the adapter that `save` wrote to `folder`, for the same model and theta^S."""
        adapter = cls(model, theta, HelperRows.load(helpers_path(folder)), settings)
        if _directions_path(folder).exists():
            adapter.directions = load_file(_directions_path(folder))["directions"].to(theta.like)
        return adapter

    def _groups(self, train: DomainRows, rounds: Mapping[int, int]) -> Iterator[list[int]]:
        """Groups domains with the same number of rounds and similar size, so that one step fits in memory.

        Args:
            train: the training rows.
            rounds: the number of rounds by domain.

        Yields:
            The domains of a group, smallest first.
        """

        def size(domain: int) -> int:
            return len(train.rows_of[domain])

        group: list[int] = []
        for domain in sorted(rounds, key=lambda domain: (rounds[domain], size(domain), domain)):
            width = max(min(size(domain), self.settings.dr_batch_size), self.helpers.widest)
            full = len(group) == MOST_DOMAINS or (len(group) + 1) * width > MOST_ROWS
            if group and (full or rounds[domain] != rounds[group[0]]):
                yield group
                group = []
            group.append(domain)
        if group:
            yield group

    def _adapt_group(
        self,
        domains: list[int],
        train: DomainRows,
        val: DomainRows,
        rounds: int,
        keep: Keep,
        start: Mapping[int, DomainOffset],
        rounds_done: int,
    ) -> Iterator[AdaptedDomain]:
        """Adapts the domains of one group, with arguments as in `adapt`."""
        offsets_before = [start.get(domain) or self._zero_offset(train, domain) for domain in domains]
        group = OffsetGroup.stack(self.theta, offsets_before)
        context = GroupContext(
            model=self.model,
            theta=self.theta,
            domains=domains,
            train=train,
            helpers=self.helpers,
            helper_rows=self._helper_rows,
            directions=self.directions,
            settings=self.settings,
            round_number=rounds_done,
        )
        aucs, offsets = [self._val_auc(group, domains, val)], {}
        for index in range(1, rounds + 1):
            context = replace(context, round_number=rounds_done + index)
            self.model.train()
            context.seed_dropout()
            with frozen_statistics(self.model):
                find_specific(self.settings.rounds[index - 1])(group, context)
            aucs.append(self._val_auc(group, domains, val))
            if keep is Keep.ALL or (keep is Keep.LAST and index == rounds):
                offsets[index] = group.unstack(self.theta)
        for position, domain in enumerate(domains):
            yield AdaptedDomain(
                domain,
                len(train.rows_of[domain]),
                len(val.rows_of.get(domain, ())),
                {index: by_position[position] for index, by_position in offsets.items()},
                np.array([auc[position] for auc in aucs]),
            )

    def _zero_offset(self, train: DomainRows, domain: int) -> DomainOffset:
        """Returns theta^i = 0, with room for the ids in the domain's training rows."""
        rows = torch.from_numpy(train.rows_of[domain]).to(self._device)
        features = {name: column[rows] for name, column in train.features.items()}
        return DomainOffset.zeros(self.theta, distinct_ids(features, self.theta.features_of))

    def _val_auc(self, group: OffsetGroup, domains: list[int], val: DomainRows) -> np.ndarray:
        """Computes the AUC of each domain on `val`; NaN if it is undefined."""
        lines = [val.rows_of.get(domain, np.empty(0, np.int64)) for domain in domains]
        if not any(map(len, lines)):
            return np.full(len(domains), np.nan)
        logits = predict_group(self.model, self.theta, group, val, lines)
        rows = torch.from_numpy(np.concatenate(lines))
        positions = np.repeat(np.arange(len(domains)), [len(line) for line in lines])
        by_position = domain_auc(positions, logits, val.labels[rows].cpu().numpy())
        result = np.full(len(domains), np.nan)
        result[by_position.domain_id] = by_position.auc
        return result


def helpers_path(folder: Path) -> Path:
    """Returns the path of the helper rows in the folder of a model."""
    return folder / "helpers.safetensors"


def _directions_path(folder: Path) -> Path:
    return folder / "directions.safetensors"
