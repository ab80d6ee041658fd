"""The second stage of training: learns theta^S and stores it."""

from dataclasses import asdict

from training.artifacts.model_store import TrainingRecord, save_theta
from training.loop.trainer import Trainer
from training.loop.training_run import TrainingRun


def learn_shared(run: TrainingRun) -> Trainer:
    """Trains theta^S, stores its best epoch and returns the trainer, which knows how training went."""
    trainer = Trainer(run)
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
