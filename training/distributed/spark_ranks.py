"""Runs the ranks of a training run as tasks of a Spark job. Only pipelines/train_on_spark.py needs this module."""

import os
from collections.abc import Callable
from typing import TypeVar

import horovod.spark
from horovod.runner.common.util.timeout import TimeoutException

from training.errors import UserError

Result = TypeVar("Result")

START_TIMEOUT = 60  # seconds


def run_on_spark(function: Callable[..., Result], arguments: tuple, ranks: int) -> list[Result]:
    """Calls `function` on each of `ranks` tasks of the active Spark session and returns their results by rank.

    Raises:
        UserError: the cluster had too few free cores for HOROVOD_SPARK_START_TIMEOUT seconds.
    """
    timeout = int(os.environ.get("HOROVOD_SPARK_START_TIMEOUT", START_TIMEOUT))
    try:
        return horovod.spark.run(
            function, args=arguments, num_proc=ranks, start_timeout=timeout, use_gloo=True, verbose=0
        )
    except TimeoutException:
        raise UserError(
            f"the cluster had no {ranks} cores free within {timeout} s, one for each rank: set "
            "spark.default.parallelism to as many as it has, or HOROVOD_SPARK_START_TIMEOUT to wait longer"
        ) from None
