"""Reports the result of a run: the last stage of training."""

from training.loop.trainer import Progress
from training.loop.training_run import TrainingRun


def summarize(run: TrainingRun, progress: Progress) -> dict:
    """Logs the best epoch, closes the MLflow run and returns the summary, with this rank's number as `rank`."""
    run.tracker.log({"best_epoch": progress.best_epoch, "best_val_mean_domain_auc": progress.best_auc})
    run.tracker.finish()
    return {
        "framework": run.config.framework.name,
        "model": run.config.model.name,
        "ranks": run.ranks.size,
        "epochs": progress.epoch,
        "samples": progress.rows_read,
        "samples_per_second": round(progress.rows_read / max(progress.seconds, 1e-9), 1),
        "best_epoch": progress.best_epoch,
        "val_mean_domain_auc": progress.best_auc if progress.best_epoch else None,
        "model_path": str(run.folder),
        "rank": run.ranks.rank,
    }
