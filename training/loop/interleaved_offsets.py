"""Learns theta^i of all domains on the workers, by a round of DR after each epoch of DN (MAMDR, Algorithm 3)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow
from training.config.framework_settings import adaptation_settings
from training.data.bucket_plan import balance
from training.data.petastorm_reader import read_buckets
from training.files import tensor_folder
from training.frameworks.specific.adapter import Adapter, Keep
from training.loop.gather_adapter import gather_helpers
from training.parameters.domain_offsets import DomainOffset
from training.parameters.forward import predict, predict_adapted
from training.progress import with_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from training.data.columns import Columns
    from training.frameworks.specific.adapter import AdaptedDomain
    from training.loop.training_run import TrainingRun, Workers

Offsets = dict[int, DomainOffset]  # by domain


class InterleavedOffsets:
    """Holds theta^i of this rank's domains while theta^S is trained. A domain stays on one rank for the whole run."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._adapter = Adapter(run.model, run.theta, gather_helpers(run), adaptation_settings(run.config))
        self._last: Offsets = {}
        self._best: Offsets = {}
        self._units = _units_of_this_rank(run)

    def adapt(self, epoch: int) -> None:
        """Runs one round of DR for each domain, from its theta^i of the epoch before (lines 3 to 5 of Algorithm 3)."""
        silent = not self._run.ranks.is_root
        for unit in with_progress(self._units, f"epoch {epoch}: DR", unit="groups of domains", silent=silent):
            for adapted in self._adapt_unit(unit, rounds=1, start=self._last, rounds_done=epoch - 1):
                self._last[adapted.domain_id] = adapted.offsets[1]

    def val_logits(self) -> tuple[Columns, np.ndarray]:
        """Returns the validation rows of this rank's domains, and their logits by theta^S + theta^i, shape (rows,)."""
        model, theta = self._run.model, self._run.theta
        columns = self._read("val", sum(self._units, []))
        shared = predict(model, theta, columns)
        return columns, predict_adapted(model, theta, columns, self._last, shared)

    def keep_best(self) -> None:
        """Remembers the present offsets as those of the best epoch."""
        self._best = dict(self._last)

    def save(self, epoch: int) -> None:
        """Saves every rank's offsets. They count only once rank 0 has saved theta^S of the same epoch."""
        ranks = self._run.ranks
        tensors = _to_tensors(self._last, "last") | _to_tensors(self._best, "best")
        tensor_folder.save_epoch(self._checkpoints(ranks.rank), epoch, tensors, {})
        ranks.wait()
        if ranks.is_root:  # removes what a run with more ranks left when it was interrupted in this epoch
            for stale in set(self._saved(epoch)) - {self._checkpoints(rank) for rank in range(ranks.size)}:
                shutil.rmtree(stale / f"epoch-{epoch:05d}")

    def resume(self, epoch: int) -> None:
        """Loads the offsets of this rank's domains from the checkpoint of `epoch`, whichever ranks saved them."""
        device, domains = self._run.theta.like.device, set(self._domains_of_this_rank())
        for folder in self._saved(epoch):
            tensors, _ = tensor_folder.load(folder / f"epoch-{epoch:05d}")
            self._last |= _from_tensors(tensors, "last", domains, device)
            self._best |= _from_tensors(tensors, "best", domains, device)

    def write(self, version: str, best_epoch: int) -> None:
        """Adds theta^i of the best epoch to the table domain_parameters. Each rank commits its domains.

        Args:
            version: the `model_version` of the rows. Domains that have one are skipped.
        """
        config, theta = self._run.config, self._run.theta
        path, dtype = config.table("domain_parameters"), self._adapter.settings.specific_dtype
        written = self._run.ranks.on_root("written", lambda: domain_parameters.written_domains(path, version))
        rows = (row for row in self._rows(version, best_epoch) if row.domain_id not in written)
        domain_parameters.append(path, [domain_parameters.to_row(row, theta, dtype) for row in rows])

    def _rows(self, version: str, best_epoch: int) -> Iterator[DomainRow]:
        """Yields the row of each domain of this rank, scored on its validation rows."""
        for unit in self._units:
            shared_auc = {scored.domain_id: scored.val_auc[0] for scored in self._adapt_unit(unit, rounds=0, start={})}
            for scored in self._adapt_unit(unit, rounds=0, start=self._best):
                yield DomainRow(
                    model_version=version,
                    domain_id=scored.domain_id,
                    bucket=unit[0],
                    rounds=best_epoch,
                    offset=self._best[scored.domain_id],
                    rows_train=scored.rows_train,
                    rows_val=scored.rows_val,
                    val_auc_shared=shared_auc[scored.domain_id],
                    val_auc=scored.val_auc[0],
                )

    def _adapt_unit(
        self, unit: list[int], rounds: int, start: Offsets, rounds_done: int = 0
    ) -> Iterator[AdaptedDomain]:
        """Adapts all domains of a unit; with 0 rounds it only scores the offsets in `start`."""
        train, val = self._read("train", unit), self._read("val", unit)
        rounds_of = dict.fromkeys(np.unique(train["domain_id"]).tolist(), rounds)
        return self._adapter.adapt(train, val, rounds_of, Keep.LAST, start=start, rounds_done=rounds_done)

    def _read(self, split: str, buckets: list[int]) -> Columns:
        return read_buckets(self._run.snapshot, split, buckets)

    def _domains_of_this_rank(self) -> list[int]:
        domains = self._run.snapshot.domains
        first_buckets = [unit[0] for unit in self._units]
        return domains.domain_id[np.isin(domains.first_bucket, first_buckets)].tolist()

    def _checkpoints(self, rank: int) -> Path:
        """Returns the folder of a rank's checkpoints."""
        return self._run.folder / f"specific-{rank}"

    def _saved(self, epoch: int) -> list[Path]:
        """Returns the checkpoint folders of the ranks, of this run or an earlier one, that saved `epoch`."""
        return [path.parent for path in sorted(self._run.folder.glob(f"specific-*/epoch-{epoch:05d}"))]


def _units_of_this_rank(workers: Workers) -> list[list[int]]:
    """Returns this rank's units. A unit is a list of buckets that hold whole domains.

    It is one bucket, or all buckets of a head domain.
    """
    domains, ranks = workers.snapshot.domains, workers.ranks
    rows: dict[int, int] = {}
    buckets: dict[int, int] = {}
    for first, count, size in zip(domains.first_bucket, domains.buckets, domains.rows_train, strict=True):
        rows[int(first)] = rows.get(int(first), 0) + int(size)
        buckets[int(first)] = int(count)
    share = balance(rows, ranks.size, np.random.default_rng(workers.config.seed))[ranks.rank]
    return [list(range(first, first + buckets[first])) for first in share]


def _to_tensors(offsets: Offsets, kind: str) -> dict[str, Tensor]:
    """Names the tensors of offsets KIND/DOMAIN/dense, KIND/DOMAIN/ids/VOCABULARY and KIND/DOMAIN/rows/TABLE."""
    tensors = {}
    for domain, offset in offsets.items():
        tensors[f"{kind}/{domain}/dense"] = offset.dense
        tensors |= {f"{kind}/{domain}/ids/{name}": ids for name, ids in offset.ids.items()}
        tensors |= {f"{kind}/{domain}/rows/{name}": rows for name, rows in offset.rows.items()}
    return {name: value.clone() for name, value in tensors.items()}  # safetensors refuses memory that two names share


def _from_tensors(tensors: dict[str, Tensor], kind: str, domains: set[int], device: torch.device) -> Offsets:
    """Rebuilds the offsets of `domains` from tensors that `_to_tensors` named."""
    offsets: Offsets = {}
    for name, value in tensors.items():
        kind_of_tensor, domain, field, *key = name.split("/")
        if kind_of_tensor == kind and int(domain) in domains:
            offset = offsets.setdefault(int(domain), DomainOffset(torch.empty(0), {}, {}))
            if field == "dense":
                offset.dense = value.to(device)
            else:
                getattr(offset, field)[key[0]] = value.to(device)
    return offsets
