"""Learns theta^S and stores it: the second stage of training."""

from dataclasses import asdict

from training.artifacts.model_store import TrainingRecord, save_theta
from training.loop.interleaved_offsets import InterleavedOffsets
from training.loop.trainer import Trainer
from training.loop.training_run import TrainingRun


def learn_shared(run: TrainingRun) -> Trainer:
    """Trains theta^S, stores its best epoch and returns the trainer, which records how training went.

    With `framework.interleave` the trainer learns theta^i of all domains as well.
    """
    trainer = Trainer(run, InterleavedOffsets(run) if run.config.framework.interleave else None)
    trainer.fit()
    record = TrainingRecord(
        config=run.config,
        snapshot=run.snapshot,
        vector_files=run.vector_files,
        started_from=run.started_from,
        progress=asdict(trainer.progress),
    )
    save_theta(run.folder, run.model, run.theta, run.ranks, record)
    run.mirror.publish_on(run.ranks)
    return trainer
