"""Learning theta^S: epochs of rounds, validation by domain, early stopping, checkpoints."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.column_names import LABEL
from training.config import Config
from training.data.bucket_plan import plan_epoch
from training.data.columns import Columns, to_features
from training.data.patch import Patch, cut_to_fit
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import Snapshot
from training.distributed.ranks import Ranks
from training.files import tensor_folder
from training.files.mirror import mirror_of
from training.frameworks import find_framework
from training.frameworks.inner_step import InnerOptimizer
from training.frameworks.round import RoundContext
from training.metrics import DomainAuc, domain_auc
from training.parameters.adam import Moments
from training.parameters.forward import predict
from training.parameters.shard_files import ShardCheckpoints, Shards
from training.parameters.shared import SharedParameters
from training.tracking import Tracker

PARTS = ("read", "wait", "pull", "push", "allreduce")  # of the time of a round, beside the inner steps


@dataclass
class Progress:
    """What a run has done, and whether it goes on."""

    epoch: int = 0
    best_epoch: int = 0
    best_auc: float = -1.0
    rows_read: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)

    def finished(self, config: Config) -> bool:
        if config.framework.shared == "none":
            return True
        return self.epoch >= config.training.epochs or self.epoch - self.best_epoch >= config.training.patience


class Trainer:
    """Trains the parameters of `model` in place.

    Attributes:
        theta: the parameters, shared with the module. progress: how far it got. tracker: where epochs are logged.
        after_epoch: called when an epoch is on disk; may end the run.
    """

    def __init__(
        self, model: nn.Module, config: Config, snapshot: Snapshot, ranks: Ranks, folder: Path, shards: Shards
    ) -> None:
        self.model, self.config, self.snapshot, self.ranks = model, config, snapshot, ranks
        self.theta = SharedParameters.of(model, dict(shards))
        self.progress = Progress()
        self.tracker = Tracker()
        self.after_epoch: Callable[[], None] = lambda: None
        self.checkpoints = folder / "checkpoints"
        self.mirror = mirror_of(config.root, folder)
        self._shards = ShardCheckpoints(folder, self.theta.shards, ranks)
        self._best = self.theta.clone_trained()
        self._dtype, self._device = self.theta.like.dtype, self.theta.like.device
        self._bar = tqdm(unit=" samples", unit_scale=True, file=sys.stderr, disable=not ranks.is_root)
        self._inner = InnerOptimizer(model, config.framework.inner_lr, self._bar.update)

    def fit(self) -> None:
        """Trains until the last epoch or until patience ends, and restores the best epoch."""
        self.mirror.pull_on(self.ranks)
        self.resume()
        while not self.progress.finished(self.config):
            self._run_epoch()
            self.after_epoch()
        self._bar.close()
        self.theta.copy_(self._best)
        if self.progress.best_epoch:
            self.mirror.pull_on(self.ranks)
            self._shards.load_best(self.progress.best_epoch)

    def _run_epoch(self) -> None:
        start = time.monotonic()
        epoch = self.progress.epoch + 1
        training = self.config.training
        rows_by_bucket = self.snapshot.rows_by_bucket("train")
        plan = plan_epoch(rows_by_bucket, self.ranks.size, training.rounds_per_epoch, self.config.seed, epoch)
        rng = np.random.default_rng([self.config.seed, epoch, self.ranks.rank])
        torch.manual_seed(int(rng.integers(2**62)))
        run = RoundContext(self._inner, self.config.framework, training, self.ranks, rng)
        learn = find_framework(self.config.framework.shared).learn
        self._bar.reset(sum(rows_by_bucket[bucket] for buckets in plan[self.ranks.rank] for bucket in buckets))
        self._bar.set_description(f"epoch {epoch}")
        self.model.train()
        self.ranks.seconds.clear()
        rows = 0
        for number, buckets in enumerate(plan[self.ranks.rank], start=1):
            self.ranks.watch.place = f"round {number} of epoch {epoch}"
            with self.ranks.timed("read"):
                columns = read_buckets(self.snapshot, "train", buckets)
            for part in self._cut(columns):
                patch = Patch(part, self.theta.features_of, self._device, self._dtype)
                learn(self.theta, patch, run)
                rows += patch.rows
        self.ranks.watch.place = f"the end of epoch {epoch}"
        parts = self._parts(time.monotonic() - start)
        rows = int(self.ranks.gather("rows", np.array([rows])).sum())
        listed = sum(rows_by_bucket.values())
        if rows != listed:
            raise RuntimeError(f"epoch {epoch} read {rows} rows of {listed} listed")
        self.adapt(epoch)
        self._record(epoch, self.validate(), rows, time.monotonic() - start, parts)

    def _cut(self, columns: Columns) -> list[Columns]:
        """The patches of a round: at least one, and as many on every rank that what each looks up can be cached."""
        if not self.theta.shards:
            return [columns]
        features_of = {vocabulary: self.theta.features_of[vocabulary] for vocabulary in self.theta.shards}
        parts = cut_to_fit(columns, features_of, self.config.training.cache_rows)
        nothing = {name: column[:0] for name, column in columns.items()}
        return parts + [nothing] * (self.ranks.max("patches", max(1, len(parts))) - len(parts))

    def adapt(self, epoch: int) -> None:
        """What follows DN in an epoch; nothing, unless the framework interleaves."""

    def validate(self) -> DomainAuc:
        """The validation AUC of each domain, the same on every rank."""
        buckets = plan_epoch(self.snapshot.rows_by_bucket("val"), self.ranks.size, 1, self.config.seed, 0)
        columns = read_buckets(self.snapshot, "val", buckets[self.ranks.rank][0])
        logits = []
        for part in self._cut(columns):
            theta = self.theta.for_reading(to_features(part, self._device))
            logits.append(predict(self.model, theta, part))
        return self.auc_over_ranks(columns, np.concatenate(logits))

    def auc_over_ranks(self, columns: Columns, logits: np.ndarray) -> DomainAuc:
        """The AUC of each domain over the rows of all ranks."""
        scored = np.stack([columns["domain_id"], logits, columns[LABEL]], axis=1).astype(np.float64)
        domains, scores, labels = self.ranks.gather("scores", scored).T
        return domain_auc(domains.astype(np.int64), scores, labels)

    def _parts(self, seconds: float) -> dict[str, float]:
        """What the rounds of an epoch spent on what, in seconds, as means over the ranks; "inner" is all the rest."""
        parts = [self.ranks.seconds[part] for part in PARTS]
        own = np.array([[*parts, seconds - sum(parts)]])
        mean = self.ranks.gather("parts", own).mean(0)
        return {part: round(value, 3) for part, value in zip((*PARTS, "inner"), mean.tolist(), strict=True)}

    def _record(self, epoch: int, auc: DomainAuc, rows: int, seconds: float, parts: dict[str, float]) -> None:
        progress = self.progress
        progress.epoch = epoch
        progress.rows_read += rows
        progress.seconds += seconds
        progress.history.append(
            {
                "epoch": epoch,
                "val_mean_domain_auc": auc.mean,
                "rows_read": rows,
                "ranks": self.ranks.size,
                "seconds": round(seconds, 3),
                "seconds_by_part": parts,
            }
        )
        if np.nan_to_num(auc.mean) > progress.best_auc:
            progress.best_epoch, progress.best_auc = epoch, float(np.nan_to_num(auc.mean))
            self.keep_best()
        self.save()
        speed = {"seconds": seconds, "samples_per_second": rows / seconds}
        spent = {f"seconds/{part}": value for part, value in parts.items()}
        self.tracker.log({"val_mean_domain_auc": auc.mean, **speed, **spent}, step=epoch)
        if self.ranks.is_root:
            listed = f"{rows} rows read of {rows} listed"
            spent = ", ".join(f"{part} {value:.1f}" for part, value in parts.items() if value >= 0.05)
            self._bar.write(
                f"epoch {epoch}: val mean-domain AUC {auc.mean:.4f} ({auc.defined.sum()} domains), {listed}"
                + (f"; seconds: {spent}" if spent else ""),
                file=sys.stderr,
            )

    def keep_best(self) -> None:
        """Remembers the present parameters as the best."""
        self._best = self.theta.clone_trained()
        self._shards.keep_best(self.progress.epoch)

    def save(self) -> None:
        """Makes this epoch's checkpoint."""
        self._shards.keep_last(self.progress.epoch)
        self._shards.drop_all_but(self.ranks.on_root("checkpoint", self._save))
        self.mirror.publish_on(self.ranks)

    def _save(self) -> list[tuple[int, int]]:
        """Writes the checkpoint and returns the epoch and the best epoch of each that is there."""
        tensor_folder.save_epoch(self.checkpoints, self.progress.epoch, self._tensors(), asdict(self.progress))
        return [(state["epoch"], state["best_epoch"]) for state in tensor_folder.read_states(self.checkpoints)]

    def _tensors(self) -> dict[str, Tensor]:
        groups = {"theta": self.theta.trained(), "best": self._best, "moments": self._inner.moments.state()}
        return {f"{group}/{name}": value for group, tensors in groups.items() for name, value in tensors.items()}

    def resume(self) -> None:
        """Takes up the newest checkpoint, if there is one."""
        found = tensor_folder.load_last(self.checkpoints)
        if found is None:
            return
        tensors, state = found
        self.progress = Progress(**state)
        moments = Moments()
        moments.load_state(self._on_device(tensors, "moments"))
        self._inner.moments = moments
        self.theta.copy_(self._on_device(tensors, "theta"))
        self._best = self._on_device(tensors, "best")
        self._shards.load_last(self.progress.epoch)
        if self.ranks.is_root:
            print(f"going on after epoch {self.progress.epoch}", file=sys.stderr)

    def _on_device(self, tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
        prefix = f"{group}/"
        return {
            name.removeprefix(prefix): value.to(self._device)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
