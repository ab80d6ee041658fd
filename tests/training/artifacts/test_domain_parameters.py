"""Tests the table domain_parameters when several processes write to it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from training.artifacts import domain_parameters
from training.data.delta_files import read_columns

WRITERS, DOMAINS = 4, 5


def row(domain):
    return {
        "model_version": "m",
        "domain_id": domain,
        "bucket": 0,
        "rounds": 1,
        "dense": np.full(3, domain, "<f4").tobytes(),
        "embeddings": [],
        "rows_train": 1,
        "rows_val": 0,
        "val_auc_shared": None,
        "val_auc": None,
    }


def test_concurrent_writers_lose_no_rows(built, tmp_path):
    path = built.config(built.copy(tmp_path)).table("domain_parameters")
    ready = Barrier(WRITERS)

    def write(writer):
        ready.wait()
        for number in range(DOMAINS):
            domain_parameters.append(path, [row(writer * DOMAINS + number)])

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    domains = read_columns(path, ["domain_id"], {"model_version": "m"})["domain_id"]
    assert sorted(domains.tolist()) == list(range(WRITERS * DOMAINS))
