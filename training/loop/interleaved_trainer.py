"""Algorithm 3 of MAMDR to the letter: in each epoch DN, then DR for every domain, all of it on the workers."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.artifacts import domain_parameters
from training.config import Config
from training.data.bucket_plan import balance
from training.data.columns import Columns
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import Snapshot
from training.distributed.ranks import Ranks
from training.files import tensor_folder
from training.frameworks.specific.adapter import AdaptedDomain, Adapter, Keep, adaptation_settings
from training.loop.gather_rows import gather_helpers
from training.loop.trainer import Trainer
from training.metrics import DomainAuc
from training.parameters.domain_offsets import DomainOffset
from training.parameters.forward import predict, predict_adapted
from training.parameters.shard_files import Shards


class InterleavedTrainer(Trainer):
    """Trains theta^S and theta^i of all domains; the early stop looks at theta^S + theta^i.

    Attributes:
        specific: theta^i of this rank's domains. Each domain is on one rank, the same in every epoch.
    """

    def __init__(
        self, model: nn.Module, config: Config, snapshot: Snapshot, ranks: Ranks, folder: Path, shards: Shards
    ) -> None:
        super().__init__(model, config, snapshot, ranks, folder, shards)
        self._adapter = Adapter(model, self.theta, gather_helpers(config, snapshot, ranks), adaptation_settings(config))
        self.specific: dict[int, DomainOffset] = {}
        self._best_specific: dict[int, DomainOffset] = {}
        self._units = _own_units(snapshot, ranks, config.seed)

    def adapt(self, epoch: int) -> None:
        """Lines 3 to 5 of Algorithm 3: one round of DR for each domain, from its theta^i of the epoch before."""
        bar = tqdm(
            self._units,
            desc=f"epoch {epoch}: DR",
            file=sys.stderr,
            disable=not self.ranks.is_root,
            leave=False,
        )
        for unit in bar:
            for adapted in self._adapt_unit(unit, rounds=1, start=self.specific, rounds_done=epoch - 1):
                self.specific[adapted.domain_id] = adapted.offsets[1]

    def validate(self) -> DomainAuc:
        columns = self._read("val", sum(self._units, []))
        shared = predict(self.model, self.theta, columns)
        logits = predict_adapted(self.model, self.theta, columns, self.specific, shared)
        return self.auc_over_ranks(columns, logits)

    def keep_best(self) -> None:
        super().keep_best()
        self._best_specific = dict(self.specific)

    def save(self) -> None:
        """Every rank saves its theta^i before rank 0 saves theta^S, without which they are not looked at."""
        epoch = self.progress.epoch
        own = _to_tensors(self.specific, "last") | _to_tensors(self._best_specific, "best")
        tensor_folder.save_epoch(self._specific_checkpoints(self.ranks.rank), epoch, own, {})
        self.ranks.wait()
        if self.ranks.is_root:  # an epoch that more ranks were cut off in
            for stale in set(self._saved(epoch)) - {self._specific_checkpoints(r) for r in range(self.ranks.size)}:
                shutil.rmtree(stale / f"epoch-{epoch:05d}")
        super().save()

    def _saved(self, epoch: int) -> list[Path]:
        """The folders of ranks that have saved theta^i after `epoch`."""
        return [path.parent for path in sorted(self.checkpoints.parent.glob(f"specific-*/epoch-{epoch:05d}"))]

    def resume(self) -> None:
        super().resume()
        if not self.progress.epoch:
            return
        own = set(self._own_domains())
        for folder in self._saved(self.progress.epoch):
            tensors, _ = tensor_folder.load(folder / f"epoch-{self.progress.epoch:05d}")
            self.specific |= _from_tensors(tensors, "last", own, self._device)
            self._best_specific |= _from_tensors(tensors, "best", own, self._device)

    def write_domain_parameters(self, version: str) -> None:
        """Adds the best epoch's theta^i of every domain to the table domain_parameters, from each rank in a commit."""
        path = self.config.table("domain_parameters")
        written = self.ranks.on_root("written", lambda: domain_parameters.written_domains(path, version))
        rows = (row for row in self._rows(version) if row["domain_id"] not in written)
        domain_parameters.append(path, list(rows))

    def _rows(self, version: str) -> Iterator[dict]:
        best = self.progress.best_epoch
        for unit in self._units:
            shared = {one.domain_id: one.val_auc[0] for one in self._adapt_unit(unit, rounds=0, start={})}
            for one in self._adapt_unit(unit, rounds=0, start=self._best_specific):
                auc = np.full(best + 1, np.nan)
                auc[0], auc[best] = shared[one.domain_id], one.val_auc[0]
                found = {best: self._best_specific[one.domain_id]}
                adapted = AdaptedDomain(one.domain_id, one.rows_train, one.rows_val, found, auc)
                yield domain_parameters.to_row(
                    adapted, best, version, unit[0], self.theta, self.config.framework.specific_dtype
                )

    def _adapt_unit(
        self, unit: list[int], rounds: int, start: dict[int, DomainOffset], rounds_done: int = 0
    ) -> Iterator[AdaptedDomain]:
        train, val = self._read("train", unit), self._read("val", unit)
        rounds_of = dict.fromkeys(np.unique(train["domain_id"]).tolist(), rounds)
        return self._adapter.adapt(train, val, rounds_of, Keep.LAST, start, rounds_done)

    def _read(self, split: str, buckets: list[int]) -> Columns:
        return read_buckets(self.snapshot, split, buckets)

    def _own_domains(self) -> list[int]:
        domains = self.snapshot.domains
        first = [unit[0] for unit in self._units]
        return domains.domain_id[np.isin(domains.first_bucket, first)].tolist()

    def _specific_checkpoints(self, rank: int) -> Path:
        return self.checkpoints.parent / f"specific-{rank}"


def _own_units(snapshot: Snapshot, ranks: Ranks, seed: int) -> list[list[int]]:
    """The units of this rank, each a list of buckets that hold whole domains: one bucket, or all of a head domain's."""
    domains = snapshot.domains
    rows: dict[int, int] = {}
    buckets: dict[int, int] = {}
    for first, count, size in zip(domains.first_bucket, domains.buckets, domains.rows_train, strict=True):
        rows[int(first)] = rows.get(int(first), 0) + int(size)
        buckets[int(first)] = int(count)
    own = balance(rows, ranks.size, np.random.default_rng(seed))[ranks.rank]
    return [list(range(first, first + buckets[first])) for first in own]


def _to_tensors(specific: dict[int, DomainOffset], kind: str) -> dict[str, Tensor]:
    tensors = {}
    for domain, value in specific.items():
        tensors[f"{kind}/{domain}/dense"] = value.dense
        tensors |= {f"{kind}/{domain}/ids/{name}": ids for name, ids in value.ids.items()}
        tensors |= {f"{kind}/{domain}/rows/{name}": rows for name, rows in value.rows.items()}
    return {name: value.clone() for name, value in tensors.items()}  # the last may be the best, too


def _from_tensors(
    tensors: dict[str, Tensor], kind: str, domains: set[int], device: torch.device
) -> dict[int, DomainOffset]:
    found: dict[int, DomainOffset] = {}
    for name, value in tensors.items():
        of_kind, domain, part, *key = name.split("/")
        if of_kind == kind and int(domain) in domains:
            specific = found.setdefault(int(domain), DomainOffset(torch.empty(0), {}, {}))
            if part == "dense":
                specific.dense = value.to(device)
            else:
                getattr(specific, part)[key[0]] = value.to(device)
    return found
