"""Spark's daemon of Python workers, with what our tasks import in it before it forks them: seconds for each worker."""

import gc

from pyspark.daemon import manager

from pipelines import adaptation, export_model, generate_taobao_online, ranking, scoring  # noqa: F401
from pipelines.samples import bucket_samples  # noqa: F401

if __name__ == "__main__":
    gc.freeze()  # a worker collects garbage after each task
    manager()
