"""Spark's daemon of Python workers, with what our tasks import in it before it forks them: seconds for each worker."""

import gc

from pyspark.daemon import manager

from pipelines import export_model, generate_taobao_online  # noqa: F401
from pipelines.samples import bucket_samples  # noqa: F401
from pipelines.tasks import (
    adapt_domains,  # noqa: F401
    rank_requests,  # noqa: F401
    score_samples,  # noqa: F401
)

if __name__ == "__main__":
    gc.freeze()  # a worker collects garbage after each task
    manager()
