"""Trains a model: theta^S on all domains, and theta^i of the head domains.

horovodrun -np 2 python training/train.py --config conf/ml_latest_small.yaml [key=value ...]
python training/train.py --config ...          one rank, without the launcher
"""

import json
import sys
from functools import partial

from training.command import exit_with_user_errors, explaining_full_disk
from training.config import Config, parse_arguments
from training.distributed.elastic import PinnedState, is_elastic, run_elastically
from training.loop.learn_shared import learn_shared
from training.loop.learn_specific import learn_specific
from training.loop.open_run import open_run
from training.loop.summarize import summarize


def train(config: Config, pinned: PinnedState | None = None) -> dict:
    """Runs all stages of training on this rank and returns the summary.

    Args:
        pinned: the state that survives a change of ranks, in an elastic run (training/distributed/elastic.py).

    Raises:
        UserError: the settings or the data do not allow the run.
    """
    run = open_run(config, pinned)
    trainer = learn_shared(run)
    learn_specific(run, trainer)
    return summarize(run, trainer.progress)


def main() -> None:
    """Runs the command. Rank 0 prints the summary as one line of JSON."""

    def command() -> None:
        config = parse_arguments(sys.argv[1:])
        with explaining_full_disk(f"root {config.root}"):
            summary = run_elastically(partial(train, config)) if is_elastic() else train(config)
        if summary.pop("rank") == 0:
            print(json.dumps(summary), flush=True)

    exit_with_user_errors(command)


if __name__ == "__main__":
    main()
