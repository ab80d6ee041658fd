"""Tests the rows of the table domain_parameters, and several writers at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import torch

from tests.support.reference import small_model
from training.artifacts import domain_parameters
from training.artifacts.domain_parameters import DomainRow, from_row, to_row
from training.data.delta_files import read_columns
from training.frameworks.specific.adapter import AdaptedDomain
from training.parameters.domain_offsets import DomainOffset
from training.parameters.shared import SharedParameters

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


def test_offsets_survive_a_row_of_the_table():
    """A row keeps the dense values, and the ids and values of embedding rows."""
    theta = SharedParameters.of(small_model())
    ids = {"user_id": torch.tensor([1, 3]), "item_id": torch.tensor([0]), "domain_id": torch.tensor([2])}
    rows = {name: torch.randn(len(ids[vocabulary]), 3) for name, vocabulary in theta.vocabulary_of.items()}
    offset = DomainOffset(torch.randn(5), ids, rows)
    adapted = AdaptedDomain(2, rows_train=8, rows_val=0, offsets={1: offset}, val_auc=np.array([np.nan, 0.75]))
    row = to_row(DomainRow.of(adapted, rounds=1, model_version="m", bucket=4), theta, "float32")
    assert (row["rounds"], row["bucket"], row["val_auc_shared"], row["val_auc"]) == (1, 4, None, 0.75)
    decoded = from_row(row, theta, "float32")
    assert torch.equal(decoded.dense, offset.dense)
    assert all(torch.equal(decoded.ids[name], ids[name]) for name in ids)
    assert all(torch.equal(decoded.rows[name], rows[name]) for name in rows)
    without = to_row(DomainRow.of(adapted, rounds=0, model_version="m", bucket=4), theta, "float32")
    assert (without["dense"], without["embeddings"], from_row(without, theta, "float32")) == (b"", [], None)


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
