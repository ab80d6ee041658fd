"""Pins the data, builds the model and gives it its initial values: the first stage of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.artifacts.model_names import model_path, shared_version
from training.artifacts.warm_start import find_warm_start, initialize_from
from training.config import Config
from training.data.frozen_vectors import align_vectors, open_vectors
from training.data.snapshot import Snapshot, take_snapshot
from training.distributed.device import choose_device
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files.mirror import mirror_of
from training.files.paths import is_remote
from training.frameworks.common.registry import prepare
from training.loop.training_run import TrainingRun
from training.models import build_model
from training.parameters.shard_files import add_tables, make_shards
from training.parameters.shared import SharedParameters
from training.tracking import Tracker, open_tracker

if TYPE_CHECKING:
    from training.distributed.elastic import PinnedState


def open_run(config: Config, pinned: PinnedState | None = None) -> TrainingRun:
    """Builds the model on every rank, with random values or, after a warm start, those of an earlier model.

    Args:
        pinned: the state that survives a change of ranks, in an elastic run.

    Raises:
        UserError: the data, the device or the settings do not fit a run on these ranks.
    """
    ranks = Ranks()

    def choose_snapshot() -> Snapshot:
        return ranks.on_root("snapshot", lambda: take_snapshot(config))

    snapshot = choose_snapshot() if pinned is None else pinned.pin(choose_snapshot)
    device = choose_device(config.training.device, ranks.local_rank, ranks.local_size)
    refuse_idle_ranks(snapshot, ranks.size)
    vector_files = ranks.on_machines("vectors", lambda: align_vectors(config), apart=is_remote(config.root))
    vectors = {vocabulary: open_vectors(path) for vocabulary, path in vector_files.items()}
    shards = make_shards(config, snapshot.schema, vectors, ranks)
    model = build_model(config.model, snapshot.schema.with_one_id(shards), config.seed, vectors)
    prepare(model, snapshot.schema, config.framework)
    add_tables(shards, model, config.model.embedding_scale)
    model.to(device)
    started_from = ranks.on_root("origin", lambda: find_warm_start(config, snapshot.version))
    if started_from is not None:
        source = model_path(config, started_from)
        mirror_of(config.root, source).pull_on(ranks)
        initialize_from(source, model, shards, config, snapshot.schema)
    folder = model_path(config, shared_version(config, snapshot.version))
    return TrainingRun(
        config=config,
        snapshot=snapshot,
        ranks=ranks,
        model=model,
        theta=SharedParameters.of(model, shards),
        folder=folder,
        mirror=mirror_of(config.root, folder),
        vector_files=vector_files,
        started_from=started_from,
        tracker=open_tracker(config, folder.name) if ranks.is_root else Tracker(),
        after_epoch=(lambda: None) if pinned is None else pinned.check_host_updates,
    )


def refuse_idle_ranks(snapshot: Snapshot, ranks: int) -> None:
    """Raises UserError if there are more ranks than buckets to train on."""
    buckets = len(snapshot.rows_by_bucket("train"))
    if ranks > buckets:
        raise UserError(
            f"{ranks} ranks for {buckets} buckets of training samples leave some ranks without work: "
            f"start at most {buckets} ranks, or rebuild the tables with a smaller data.bucket_rows"
        )
