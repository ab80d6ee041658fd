"""Trains theta^S, and theta^i of head domains.

horovodrun -np 2 python training/train.py --config conf/ml_latest_small.yaml [key=value ...]
python training/train.py --config ...          one rank, without the launcher
"""

import json
import sys
from dataclasses import asdict
from functools import partial

from training.artifacts.model_names import model_path, shared_version, specific_version, trained_state
from training.artifacts.model_store import load_theta, save_theta
from training.artifacts.warm_start import find_warm_start, initialize_from
from training.command import exit_with_user_errors, explaining_full_disk
from training.config import Config, parse_arguments
from training.data.frozen_vectors import align_vectors, open_vectors
from training.data.snapshot import Snapshot, take_snapshot
from training.distributed.device import choose_device
from training.distributed.elastic import Pinned, is_elastic, run_elastically
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files.mirror import mirror_of
from training.files.paths import is_remote
from training.frameworks import prepare
from training.loop.head_domains import adapt_head_domains
from training.loop.interleaved_trainer import InterleavedTrainer
from training.loop.trainer import Trainer
from training.models import build_model
from training.parameters.shard_files import add_tables, make_shards
from training.tracking import open_run


def train(config: Config, pinned: Pinned | None = None) -> dict:
    """Runs the whole command on this rank and returns the summary.

    Args:
        pinned: of a run whose ranks may change, see training/distributed/elastic.py.

    Raises:
        UserError
    """
    ranks = Ranks()

    def choose() -> Snapshot:
        return ranks.on_root("snapshot", lambda: take_snapshot(config))

    snapshot = choose() if pinned is None else pinned.pin(choose)
    device = choose_device(config.training.device, ranks.local_rank, ranks.local_size)
    refuse_idle_ranks(snapshot, ranks.size)
    frozen = ranks.on_machines("vectors", lambda: align_vectors(config), apart=is_remote(config.root))
    vectors = {vocabulary: open_vectors(path) for vocabulary, path in frozen.items()}
    shards = make_shards(config, snapshot.schema, vectors, ranks)
    model = build_model(config.model, snapshot.schema.with_one_id(shards), config.seed, vectors)
    prepare(model, snapshot.schema, config.framework)
    add_tables(shards, model, config.model.embedding_scale)
    model.to(device)
    folder = model_path(config, shared_version(config, snapshot.version))
    origin = ranks.on_root("origin", lambda: find_warm_start(config, snapshot.version))
    if origin is not None:
        source = model_path(config, origin)
        mirror_of(config.root, source).pull_on(ranks)
        initialize_from(source, model, shards, config, snapshot.schema)
    trainer_class = InterleavedTrainer if config.framework.interleave else Trainer
    trainer = trainer_class(model, config, snapshot, ranks, folder, shards)
    if pinned is not None:
        trainer.after_epoch = pinned.check_host_updates
    if ranks.is_root:
        trainer.tracker = open_run(config, folder.name)
    trainer.fit()
    progress = trainer.progress
    save_theta(folder, model, trainer.theta, snapshot, ranks, asdict(progress), frozen, origin, config)
    trainer.mirror.publish_on(ranks)
    version = specific_version(config, folder.name, trained_state(progress.best_epoch))
    if isinstance(trainer, InterleavedTrainer):
        trainer.write_domain_parameters(version)
    elif config.framework.specific != "none":
        trainer.mirror.pull_on(ranks)  # the shards of all ranks
        model, theta = load_theta(folder, config) if shards else (model, trainer.theta)
        helpers = mirror_of(config.root, model_path(config, version))
        helpers.pull_on(ranks)
        adapt_head_domains(model, theta, config, snapshot, ranks, version)
        helpers.publish_on(ranks)
    trainer.tracker.log({"best_epoch": progress.best_epoch, "best_val_mean_domain_auc": progress.best_auc})
    trainer.tracker.finish()
    return {
        "framework": config.framework.name,
        "model": config.model.name,
        "ranks": ranks.size,
        "epochs": progress.epoch,
        "samples": progress.rows_read,
        "samples_per_second": round(progress.rows_read / max(progress.seconds, 1e-9), 1),
        "best_epoch": progress.best_epoch,
        "val_mean_domain_auc": progress.best_auc if progress.best_epoch else None,
        "model_path": str(folder),
        "rank": ranks.rank,
    }


def refuse_idle_ranks(snapshot: Snapshot, ranks: int) -> None:
    """Raises UserError if there are more ranks than buckets to train on."""
    buckets = len(snapshot.rows_by_bucket("train"))
    if ranks > buckets:
        raise UserError(
            f"{ranks} ranks for {buckets} buckets of training samples leave some without work: "
            f"start at most {buckets}, or build with a smaller data.bucket_rows"
        )


def main() -> None:
    def command() -> None:
        config = parse_arguments(sys.argv[1:])
        with explaining_full_disk(f"root {config.root}"):
            summary = run_elastically(partial(train, config)) if is_elastic() else train(config)
        if summary.pop("rank") == 0:
            print(json.dumps(summary), flush=True)

    exit_with_user_errors(command)


if __name__ == "__main__":
    main()
