"""Learns theta^i, the offsets that domains add to theta^S: the third stage of training."""

from dataclasses import replace

from training.artifacts.manifest import trained_state
from training.artifacts.model_names import model_path, specific_version
from training.artifacts.model_store import load_theta
from training.files.mirror import mirror_of
from training.loop.head_domains import adapt_head_domains
from training.loop.trainer import Trainer
from training.loop.training_run import TrainingRun


def learn_specific(run: TrainingRun, trainer: Trainer) -> None:
    """Learns theta^i of the head domains. The Spark job dr_longtail.py learns it for all other domains.

    With `framework.interleave` the trainer has already learned theta^i of every domain, and only writes it here.
    """
    best_epoch = trainer.progress.best_epoch
    version = specific_version(run.config, run.folder.name, trained_state(best_epoch))
    if trainer.offsets is not None:
        trainer.offsets.write(version, best_epoch)
    elif run.config.framework.specific != "none":
        run.mirror.pull_on(run.ranks)  # brings the shards that other machines stored
        if run.theta.shards:
            model, theta = load_theta(run.folder, run.config)
            run = replace(run, model=model, theta=theta)
        mirror = mirror_of(run.config.root, model_path(run.config, version))
        mirror.pull_on(run.ranks)
        adapt_head_domains(run, version)
        mirror.publish_on(run.ranks)
