"""Runs Spark's daemon of Python workers with the modules of our tasks imported before it forks.

Each worker would otherwise spend seconds on these imports.
"""

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
    gc.freeze()  # workers collect garbage after each task; skip the objects of these imports
    manager()
