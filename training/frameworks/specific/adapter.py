"""From theta^S to theta^i of many domains: groups of like size, rounds of a framework, a stop that may keep none."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.config import Config
from training.data.columns import Columns
from training.data.domain_rows import DomainRows
from training.data.id_numbering import distinct_ids
from training.files.atomic_write import atomic_write
from training.frameworks import SPECIFIC
from training.frameworks.specific.group_round import AdaptationSettings, GroupContext
from training.frameworks.specific.helper_rows import HelperRows
from training.metrics import domain_auc
from training.parameters.domain_offsets import DomainOffset, OffsetGroup
from training.parameters.forward import MOST_DOMAINS, predict_group
from training.parameters.frozen_statistics import frozen_statistics
from training.parameters.shared import SharedParameters

MOST_ROWS = 32_768  # in a step of a group


class Keep(Enum):
    """Tells after which of its rounds `Adapter.adapt` returns a domain's offsets."""

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
    """Gives the model whose folder is `target` what `Adapter.save` and dr_longtail left in `source`; once."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if not (target / file.name).exists():
            with atomic_write(target / file.name) as aside:
                shutil.copyfile(file, aside)


def adaptation_settings(config: Config) -> AdaptationSettings:
    framework = config.framework
    dr, finetune = ("dr",) * framework.dr_rounds, ("finetune",) * framework.finetune_rounds
    rounds = {
        "none": (),
        "finetune": finetune,
        "dr": dr,
        "dr_finetune": dr + finetune,
        "subspace": ("subspace",) * framework.subspace_rounds,
    }
    return AdaptationSettings(
        rounds=rounds[framework.specific],
        inner_lr=framework.dr_inner_lr,
        outer_lr=framework.dr_lr,
        finetune_lr=framework.finetune_lr or framework.dr_inner_lr,
        most_rows=framework.subspace_rows,
        helpers=framework.helpers,
        batch_size=framework.dr_batch_size or config.training.batch_size,
        seed=config.seed,
    )


class Adapter:
    """Learns theta^i against one theta^S, whose statistics stay as they are.

    `theta` is on the device to train on; `helpers` is the reservoir of helper rows.

    Attributes:
        directions: those that framework "subspace" mixes, shape (rank, values in the dense parameters).
    """

    directions: Tensor | None = None

    def __init__(
        self, model: nn.Module, theta: SharedParameters, helpers: HelperRows, settings: AdaptationSettings
    ) -> None:
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
        """Leaves in the folder of the model what tasks need beside theta^S; where the helpers are, all is."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.directions is not None:
            with atomic_write(_directions_path(folder)) as aside:
                save_file({"directions": self.directions.cpu()}, aside)
        self.helpers.save(helpers_path(folder))

    @classmethod
    def load(cls, folder: Path, model: nn.Module, theta: SharedParameters, settings: AdaptationSettings) -> "Adapter":
        """The adapter that `save` left; `theta` is where the model is."""
        adapter = cls(model, theta, HelperRows.load(helpers_path(folder)), settings)
        if _directions_path(folder).exists():
            adapter.directions = load_file(_directions_path(folder))["directions"].to(theta.like)
        return adapter

    def _groups(self, train: DomainRows, rounds: Mapping[int, int]) -> Iterator[list[int]]:
        """Domains with as many rounds, of like size, that fit into a step together; none larger than the next."""

        def size(domain: int) -> int:
            return len(train.rows_of[domain])

        group: list[int] = []
        for domain in sorted(rounds, key=lambda domain: (rounds[domain], size(domain), domain)):
            width = max(min(size(domain), self.settings.batch_size), self.helpers.widest)
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
        zero = [self._zero(train, domain) for domain in domains]
        group = OffsetGroup.stack(self.theta, [start.get(d, z) for d, z in zip(domains, zero, strict=True)])
        context = GroupContext(
            model=self.model,
            theta=self.theta,
            domains=domains,
            train=train,
            reservoir=(self.helpers, self._helper_rows),
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
                SPECIFIC[self.settings.rounds[index - 1]](group, context)
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

    def _zero(self, train: DomainRows, domain: int) -> DomainOffset:
        rows = torch.from_numpy(train.rows_of[domain]).to(self._device)
        features = {name: column[rows] for name, column in train.features.items()}
        ids = distinct_ids(features, self.theta.features_of)
        return DomainOffset(
            torch.zeros(
                sum(value.numel() for value in self.theta.dense.values()),
                dtype=self._dtype,
                device=self._device,
            ),
            ids,
            {
                name: table.new_zeros(len(ids[self.theta.vocabulary_of[name]]), table.shape[1])
                for name, table in self.theta.tables.items()
            },
        )

    def _val_auc(self, group: OffsetGroup, domains: list[int], val: DomainRows) -> np.ndarray:
        """The AUC of each domain on `val`, NaN where it is undefined."""
        lines = [val.rows_of.get(domain, np.empty(0, np.int64)) for domain in domains]
        if not any(map(len, lines)):
            return np.full(len(domains), np.nan)
        logits = predict_group(self.model, self.theta, group, val, lines)
        row = np.concatenate(lines)
        index = np.repeat(np.arange(len(domains)), [len(line) for line in lines])
        found = domain_auc(index, logits, val.labels[torch.from_numpy(row)].cpu().numpy())
        result = np.full(len(domains), np.nan)
        result[found.domain_id] = found.auc
        return result


def helpers_path(folder: Path) -> Path:
    return folder / "helpers.safetensors"


def _directions_path(folder: Path) -> Path:
    return folder / "directions.safetensors"
