"""Learns theta^S: epochs of rounds, validation by domain, early stopping, checkpoints."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.column_names import LABEL
from training.config.framework_settings import shared_settings
from training.data.bucket_plan import plan_epoch
from training.data.columns import Columns, to_features
from training.data.patch import Patch, cut_to_fit
from training.data.petastorm_reader import read_buckets
from training.files import tensor_folder
from training.frameworks.common.inner_step import InnerOptimizer
from training.frameworks.common.registry import find_shared
from training.frameworks.common.round import RoundContext
from training.metrics import DomainAuc, domain_auc
from training.parameters.adam import Moments
from training.parameters.forward import predict
from training.parameters.shard_files import ShardCheckpoints
from training.progress import ProgressBar

if TYPE_CHECKING:
    from torch import Tensor

    from training.config import Config
    from training.loop.interleaved_offsets import InterleavedOffsets
    from training.loop.training_run import TrainingRun

PHASES = ("read", "wait", "pull", "push", "allreduce")  # of a round, timed apart from the inner steps


@dataclass
class Progress:
    """Records how far training has come. Every checkpoint and the model's manifest contain it.

    Attributes:
        epoch: the last finished epoch.
        best_epoch: the epoch with the best validation AUC, or 0 before the first one.
        best_auc: the mean-domain AUC of that epoch.
        rows_read: the training rows that all ranks have read.
        seconds: the time of all epochs.
        history: the figures of each epoch.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_auc: float = -1.0
    rows_read: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)

    def is_finished(self, config: Config) -> bool:
        """Returns whether the last epoch is done, patience has run out, or there is nothing to learn."""
        if config.framework.shared == "none":
            return True
        return self.epoch >= config.training.epochs or self.epoch - self.best_epoch >= config.training.patience


@dataclass(frozen=True)
class EpochResult:
    """Holds the figures of one epoch.

    Attributes:
        rows: the training rows that all ranks read.
        seconds: the time of the epoch on this rank, validation included.
        seconds_by_phase: the time of the rounds, averaged over ranks.
        auc: the validation AUC of each domain.
    """

    epoch: int
    rows: int
    seconds: float
    seconds_by_phase: dict[str, float]
    auc: DomainAuc


class Trainer:
    """Trains theta^S of a run in place and keeps its best epoch.

    Attributes:
        progress: how far training has come.
        offsets: theta^i, if it is learned together with theta^S.
    """

    def __init__(self, run: TrainingRun, offsets: InterleavedOffsets | None = None) -> None:
        self.progress = Progress()
        self.offsets = offsets
        self._run, self._theta = run, run.theta
        self._checkpoints = run.folder / "checkpoints"
        self._shards = ShardCheckpoints(run.folder, run.theta.shards, run.ranks)
        self._best = run.theta.clone_trained()
        self._dtype, self._device = run.theta.like.dtype, run.theta.like.device
        self._bar = ProgressBar(unit="samples", silent=not run.ranks.is_root)
        self._inner = InnerOptimizer(run.model, shared_settings(run.config).inner_lr, self._bar.update)

    def fit(self) -> None:
        """Trains until the last epoch or until patience runs out, then restores the best epoch."""
        run = self._run
        run.mirror.pull_on(run.ranks)
        self._resume()
        while not self.progress.is_finished(run.config):
            self._run_epoch()
            run.after_epoch()
        self._bar.close()
        self._theta.copy_(self._best)
        if self.progress.best_epoch:
            run.mirror.pull_on(run.ranks)
            self._shards.load_best(self.progress.best_epoch)

    def _run_epoch(self) -> None:
        """Trains for one epoch, validates, and saves a checkpoint."""
        start = time.monotonic()
        epoch = self.progress.epoch + 1
        rows, phases = self._run_rounds(epoch)
        if self.offsets is not None:
            self.offsets.adapt(epoch)
        auc = self._validate()
        result = EpochResult(epoch, rows, time.monotonic() - start, phases, auc)
        self._record(result)
        self._save()
        self._report(result)

    def _run_rounds(self, epoch: int) -> tuple[int, dict[str, float]]:
        """Runs the rounds of an epoch. Returns the rows that all ranks read, and the seconds of each phase."""
        start = time.monotonic()
        config, ranks = self._run.config, self._run.ranks
        rows_by_bucket = self._run.snapshot.rows_by_bucket("train")
        plan = plan_epoch(rows_by_bucket, ranks.size, config.training.rounds_per_epoch, config.seed, epoch)[ranks.rank]
        rng = np.random.default_rng([config.seed, epoch, ranks.rank])
        torch.manual_seed(int(rng.integers(2**62)))
        context = RoundContext(self._inner, shared_settings(config), config.training, ranks, rng)
        learn = find_shared(config.framework.shared)
        self._bar.restart(f"epoch {epoch}", sum(rows_by_bucket[bucket] for buckets in plan for bucket in buckets))
        self._run.model.train()
        ranks.seconds.clear()
        rows = 0
        for number, buckets in enumerate(plan, start=1):
            ranks.watch.activity = f"round {number} of epoch {epoch}"
            with ranks.timed("read"):
                columns = read_buckets(self._run.snapshot, "train", buckets)
            for patch_columns in self._cut(columns):
                patch = Patch(patch_columns, self._theta.features_of, self._device, self._dtype)
                learn(self._theta, patch, context)
                rows += patch.rows
        ranks.watch.activity = f"the end of epoch {epoch}"
        phases = self._mean_seconds(time.monotonic() - start)
        rows = int(ranks.gather("rows", np.array([rows])).sum())
        listed = sum(rows_by_bucket.values())
        if rows != listed:
            raise RuntimeError(f"epoch {epoch} read {rows} training rows, but the table lists {listed}")
        return rows, phases

    def _cut(self, columns: Columns) -> list[Columns]:
        """Splits a round's rows into patches whose embedding rows fit in `cache_rows`.

        Every rank returns the same number of patches; a rank with fewer gets empty ones.
        """
        if not self._theta.shards:
            return [columns]
        features_of = {vocabulary: self._theta.features_of[vocabulary] for vocabulary in self._theta.shards}
        patches = cut_to_fit(columns, features_of, self._run.config.training.cache_rows)
        empty = {name: column[:0] for name, column in columns.items()}
        return patches + [empty] * (self._run.ranks.max("patches", max(1, len(patches))) - len(patches))

    def _validate(self) -> DomainAuc:
        """Returns the validation AUC of each domain, the same on every rank."""
        columns, logits = self._val_logits() if self.offsets is None else self.offsets.val_logits()
        scored = np.stack([columns["domain_id"], logits, columns[LABEL]], axis=1).astype(np.float64)
        domains, scores, labels = self._run.ranks.gather("scores", scored).T
        return domain_auc(domains.astype(np.int64), scores, labels)

    def _val_logits(self) -> tuple[Columns, np.ndarray]:
        """Returns this rank's share of the validation rows, and their logits by theta^S, shape (rows,)."""
        ranks, snapshot = self._run.ranks, self._run.snapshot
        plan = plan_epoch(snapshot.rows_by_bucket("val"), ranks.size, 1, self._run.config.seed, 0)
        columns = read_buckets(snapshot, "val", plan[ranks.rank][0])
        logits = []
        for patch_columns in self._cut(columns):
            theta = self._theta.for_reading(to_features(patch_columns, self._device))
            logits.append(predict(self._run.model, theta, patch_columns))
        return columns, np.concatenate(logits)

    def _mean_seconds(self, total: float) -> dict[str, float]:
        """Returns the seconds of each phase, averaged over ranks. "inner" is the remainder of `total`."""
        ranks = self._run.ranks
        timed = [ranks.seconds[phase] for phase in PHASES]
        mean = ranks.gather("parts", np.array([[*timed, total - sum(timed)]])).mean(0)
        return {phase: round(value, 3) for phase, value in zip((*PHASES, "inner"), mean.tolist(), strict=True)}

    def _record(self, result: EpochResult) -> None:
        """Adds an epoch to the progress, and keeps the parameters if they are the best so far."""
        progress, auc = self.progress, result.auc.mean
        progress.epoch = result.epoch
        progress.rows_read += result.rows
        progress.seconds += result.seconds
        progress.history.append(
            {
                "epoch": result.epoch,
                "val_mean_domain_auc": auc,
                "rows_read": result.rows,
                "ranks": self._run.ranks.size,
                "seconds": round(result.seconds, 3),
                "seconds_by_part": result.seconds_by_phase,
            }
        )
        if np.nan_to_num(auc) > progress.best_auc:
            progress.best_epoch, progress.best_auc = result.epoch, float(np.nan_to_num(auc))
            self._keep_best()

    def _report(self, result: EpochResult) -> None:
        """Logs an epoch to MLflow and prints it."""
        if not self._run.ranks.is_root:
            return
        phases, rows, auc = result.seconds_by_phase, result.rows, result.auc
        figures = {"val_mean_domain_auc": auc.mean, "seconds": result.seconds}
        figures |= {"samples_per_second": rows / result.seconds}
        figures |= {f"seconds/{phase}": value for phase, value in phases.items()}
        self._run.tracker.log(figures, step=result.epoch)
        spent = ", ".join(f"{phase} {value:.1f}" for phase, value in phases.items() if value >= 0.05)
        self._bar.print(
            f"epoch {result.epoch}: val mean-domain AUC {auc.mean:.4f} ({auc.defined.sum()} domains), "
            f"{rows} rows read of {rows} listed" + (f"; seconds: {spent}" if spent else "")
        )

    def _keep_best(self) -> None:
        """Remembers the present parameters as those of the best epoch."""
        self._best = self._theta.clone_trained()
        self._shards.keep_best(self.progress.epoch)
        if self.offsets is not None:
            self.offsets.keep_best()

    def _save(self) -> None:
        """Saves a checkpoint of the epoch. Rank 0 writes theta^S last, which makes the checkpoint valid."""
        if self.offsets is not None:
            self.offsets.save(self.progress.epoch)
        self._shards.keep_last(self.progress.epoch)
        self._shards.drop_all_but(self._run.ranks.on_root("checkpoint", self._save_shared))
        self._run.mirror.publish_on(self._run.ranks)

    def _save_shared(self) -> list[tuple[int, int]]:
        """Writes the checkpoint of theta^S. Returns, for each checkpoint on disk, its epoch and its best epoch."""
        groups = {"theta": self._theta.trained(), "best": self._best, "moments": self._inner.moments.state()}
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        tensor_folder.save_epoch(self._checkpoints, self.progress.epoch, tensors, asdict(self.progress))
        return [(state["epoch"], state["best_epoch"]) for state in tensor_folder.read_states(self._checkpoints)]

    def _resume(self) -> None:
        """Continues from the newest checkpoint, if there is one."""
        checkpoint = tensor_folder.load_last(self._checkpoints)
        if checkpoint is None:
            return
        tensors, state = checkpoint
        self.progress = Progress(**state)
        moments = Moments()
        moments.load_state(self._on_device(tensors, "moments"))
        self._inner.moments = moments
        self._theta.copy_(self._on_device(tensors, "theta"))
        self._best = self._on_device(tensors, "best")
        self._shards.load_last(self.progress.epoch)
        if self.offsets is not None:
            self.offsets.resume(self.progress.epoch)
        self._bar.print(f"resuming after epoch {self.progress.epoch}")

    def _on_device(self, tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
        """Returns the tensors of a group, without its prefix, on the device of theta."""
        prefix = f"{group}/"
        return {
            name.removeprefix(prefix): value.to(self._device)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
