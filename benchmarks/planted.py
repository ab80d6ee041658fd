"""Draws a log with planted conflict between domains, whose best possible AUC is known.

    python -m benchmarks.planted --seed 0 --conflict 0.5 FOLDER

Labels come from a bilinear form that all domains share and from one of each domain alone. Both act on user and item
vectors, which the model gets frozen. With d the domain, c the conflict and each form scaled to unit variance,

    logit = 2 (sqrt(1 - c) u'A v + sqrt(c) (P u)' B_d (P v)) - 1 + 0.5 e_d
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

DOMAINS, ROWS, USERS, ITEMS = 300, 300_000, 4_000, 3_000
WIDTH, NARROW, SMALLEST = 8, 4, 20


@dataclass(frozen=True)
class Planted:
    """Holds the rows of the log, and what they were drawn from.

    Attributes:
        domain, user, item: int64; label: 0 or 1; logit: the true one. Shapes (rows,).
        user_vectors, item_vectors: float32, shapes (USERS, WIDTH) and (ITEMS, WIDTH).
    """

    domain: np.ndarray
    user: np.ndarray
    item: np.ndarray
    label: np.ndarray
    logit: np.ndarray
    user_vectors: np.ndarray
    item_vectors: np.ndarray


def draw_planted(seed: int, conflict: float) -> Planted:
    """Draws a log with domain sizes proportional to 1 / rank^0.9, and uniform users and items.

    A domain has each pair of user and item at most once.
    """
    rng = np.random.default_rng([seed, int(conflict * 1000)])
    shares = 1 / np.arange(1, DOMAINS + 1) ** 0.9
    sizes = np.maximum(SMALLEST, np.round(ROWS * shares / shares.sum())).astype(np.int64)
    rows = np.stack(
        [
            np.repeat(np.arange(DOMAINS), sizes),
            rng.integers(USERS, size=sizes.sum()),
            rng.integers(ITEMS, size=sizes.sum()),
        ]
    )
    domain, user, item = np.unique(rows, axis=1)
    u, v = rng.standard_normal((USERS, WIDTH)), rng.standard_normal((ITEMS, WIDTH))
    shared_form = rng.standard_normal((WIDTH, WIDTH))
    projection = rng.standard_normal((WIDTH, NARROW))
    domain_form = rng.standard_normal((DOMAINS, NARROW, NARROW))
    shared = np.einsum("ni,ij,nj->n", u[user], shared_form, v[item])
    domain_part = np.einsum("ni,nij,nj->n", (u @ projection)[user], domain_form[domain], (v @ projection)[item])
    bias = rng.standard_normal(DOMAINS)[domain]
    forms = np.sqrt(1 - conflict) * shared / shared.std() + np.sqrt(conflict) * domain_part / domain_part.std()
    logit = 2 * forms - 1 + 0.5 * bias
    label = (rng.random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    return Planted(domain, user, item, label, logit, u.astype(np.float32), v.astype(np.float32))


def write_planted(planted: Planted, folder: Path) -> None:
    """Writes FOLDER/log.parquet, and the Delta tables FOLDER/user_vectors and FOLDER/item_vectors (key, vector)."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "user": [f"u{user}" for user in planted.user],
        "item": [f"i{item}" for item in planted.item],
        "domain": [f"d{domain}" for domain in planted.domain],
        "label": planted.label,
        "logit": planted.logit,
    }
    pq.write_table(pa.table(columns), folder / "log.parquet")
    for letter, name, vectors in (("u", "user", planted.user_vectors), ("i", "item", planted.item_vectors)):
        keys = [f"{letter}{index}" for index in range(len(vectors))]
        table = pa.table({"key": keys, "vector": pa.array(vectors.tolist(), pa.list_(pa.float32()))})
        write_deltalake(str(folder / f"{name}_vectors"), table, mode="overwrite")


def main() -> None:
    """Draws and writes the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--conflict", type=float, default=0.5, help="the share of the signal that belongs to the domains, 0 to 1"
    )
    parser.add_argument("folder", type=Path)
    parsed = parser.parse_args()
    write_planted(draw_planted(parsed.seed, parsed.conflict), parsed.folder)


if __name__ == "__main__":
    main()
