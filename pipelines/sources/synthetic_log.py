"""Draws a log with the shape of Taobao-online and a planted truth; pure functions on NumPy arrays.

Every value is a function of (seed, row number), so any rows of the log can be drawn alone, in any order.

The logit of a sample of domain d, user u and item v mixes a form that all domains share and a form of the domain, both
of unit variance, by the conflict c (data.synthetic.conflict):

    logit = 2 (sqrt(1 - c) u'A v + sqrt(c) (P u)'B_d (P v)) - 1 + 0.5 e_d

u and v are standard normal vectors of 8, P is a projection to 4, and e_d is standard normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, ndtri

from training.config import DataConfig
from training.errors import UserError
from training.hashing import hash_keys

WIDTH, NARROW = 8, 4
SIZE_EXPONENT = 0.9  # the rows of a domain, beyond its first row, fall as 1 / rank^0.9
USER_EXPONENT = 0.5  # the density of drawn users and items at rank r falls as 1 / r^exponent
ITEM_EXPONENT = 0.7
ORDER, USER, ITEM, FIRST_ITEM, VECTOR, FORM, BIAS, LABEL, NOISE, USER_ORDER, ITEM_ORDER = range(11)  # streams of draws

Vectors = Sequence[np.ndarray] | np.ndarray  # shape (width, n)


@dataclass(frozen=True)
class Shape:
    """Holds the numbers of domains, users, items and samples. Each domain, user and item occurs at least once."""

    domains: int
    users: int
    items: int
    samples: int

    @classmethod
    def of(cls, data: DataConfig) -> "Shape":
        """Returns the shape at data.scale, with all domains. Raises UserError if samples are fewer than domains."""
        full = data.synthetic
        users, items, samples = (max(1, round(count * data.scale)) for count in (full.users, full.items, full.samples))
        if samples < full.domains:
            raise UserError(
                f"data.scale {data.scale} gives {samples} samples for {full.domains} domains, and each domain needs "
                "one: set a larger data.scale, or a smaller data.synthetic.domains"
            )
        return cls(full.domains, users, items, samples)

    @cached_property
    def ends(self) -> np.ndarray:
        """Returns the position after the last sample of each domain, largest domain first: shape (domains,)."""
        shares = np.arange(1, self.domains + 1, dtype=np.float64) ** -SIZE_EXPONENT
        further = np.round((self.samples - self.domains) * np.cumsum(shares) / shares.sum())
        return further.astype(np.int64) + np.arange(1, self.domains + 1)


@dataclass(frozen=True)
class Log:
    """Holds drawn samples. domain, user, item: int64; label: int8, 0 or 1; logit: float64. Shapes (rows,)."""

    domain: np.ndarray
    user: np.ndarray
    item: np.ndarray
    label: np.ndarray
    logit: np.ndarray


def draw_log(rows: np.ndarray, shape: Shape, seed: int, conflict: float, noise: float) -> Log:
    """Draws the samples with these row numbers, each from 0 to shape.samples - 1.

    Any user may occur in any domain. Items come from a range of items per domain; the ranges overlap.
    """
    position = scatter(rows, shape.samples, seed, ORDER)
    domain = np.searchsorted(shape.ends, position, side="right")
    user = _each_once(
        scatter(rows, shape.samples, seed, USER_ORDER),
        shape.users,
        power_law(uniform(seed, USER, rows), shape.users, USER_EXPONENT),
    )
    size = np.diff(shape.ends, prepend=0)[domain]
    offset = power_law(uniform(seed, ITEM, rows), np.minimum(size, shape.items), ITEM_EXPONENT)
    first = (uniform(seed, FIRST_ITEM, domain) * shape.items).astype(np.int64)
    item = _each_once(scatter(rows, shape.samples, seed, ITEM_ORDER), shape.items, (first + offset) % shape.items)
    logit = true_logit(domain, user, item, seed, conflict)
    label = (uniform(seed, LABEL, rows) < expit(logit)) ^ (uniform(seed, NOISE, rows) < noise)
    return Log(domain, user, item, label.astype(np.int8), logit)


def rows_of(domains: range, shape: Shape, seed: int) -> np.ndarray:
    """Returns the row numbers of all samples of consecutive domains, shape (rows,), ordered by domain."""
    first, end = (int(shape.ends[domain - 1]) if domain else 0 for domain in (domains.start, domains.stop))
    return gather(np.arange(first, end), shape.samples, seed, ORDER)


def true_logit(domain: np.ndarray, user: np.ndarray, item: np.ndarray, seed: int, conflict: float) -> np.ndarray:
    """Computes the logit that the labels are drawn from; see the module. All shapes are (rows,)."""
    u, v = vectors(USER, user, seed).T, vectors(ITEM, item, seed).T
    shared_form, projection = _shared(seed)
    domains, domain_index = np.unique(domain, return_inverse=True)
    domain_forms = unit(normal(seed, FORM, domains[:, None], np.arange(NARROW * NARROW)))
    domain_forms = domain_forms.reshape(-1, NARROW, NARROW).transpose(1, 2, 0)[:, :, domain_index]
    shared = bilinear(u, shared_form, v)
    of_domain = bilinear(_times(projection, u), domain_forms, _times(projection, v))
    mixed = np.sqrt(1 - conflict) * shared + np.sqrt(conflict) * of_domain
    return 2 * mixed - 1 + 0.5 * normal(seed, BIAS, domains)[domain_index]


def bilinear(x: Vectors, form: np.ndarray, y: Vectors) -> np.ndarray:
    """Computes x'F y of n samples.

    Args:
        x, y: shape (width, n).
        form: shape (width, width), or (width, width, n) with a form for each sample.
    """
    return _sum_of_products(x, _times(form, y))


def vectors(owner: int, ids: np.ndarray, seed: int) -> np.ndarray:
    """Draws the vectors of users (owner = USER) or items (ITEM), shape (ids, WIDTH)."""
    return normal(seed, VECTOR, owner, ids[:, None], np.arange(WIDTH))


def scatter(rows: np.ndarray, samples: int, seed: int, stream: int) -> np.ndarray:
    """Permutes range(samples) at `rows`: (step * row + start) mod samples, where step and samples are coprime.

    `samples` is below 2^31, so that products fit into 64 bits.
    """
    step, start = _step_and_start(samples, seed, stream)
    return (rows * np.int64(step) + start) % samples


def gather(positions: np.ndarray, samples: int, seed: int, stream: int) -> np.ndarray:
    """Inverts `scatter`: returns the rows that it sends to `positions`."""
    step, start = _step_and_start(samples, seed, stream)
    return (positions - start) % samples * np.int64(pow(step, -1, samples)) % samples


def _step_and_start(samples: int, seed: int, stream: int) -> tuple[int, int]:
    step, start = (int(hash_keys(seed, stream, index) % np.uint64(samples)) for index in (0, 1))
    while np.gcd(step, samples) != 1:
        step += 1
    return step, start


def power_law(draw: np.ndarray, count: np.ndarray | int, exponent: float) -> np.ndarray:
    """Turns uniform draws into ranks 0 to count - 1; the density at rank r falls as 1 / r^exponent, exponent < 1."""
    return np.minimum((count * draw ** (1 / (1 - exponent))).astype(np.int64), count - 1)


def uniform(*keys: np.ndarray | int) -> np.ndarray:
    """Draws numbers between 0 and 1, both exclusive, by keys."""
    return ((hash_keys(*keys) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(*keys: np.ndarray | int) -> np.ndarray:
    """Draws standard normal numbers by keys."""
    return ndtri(uniform(*keys))


def unit(forms: np.ndarray) -> np.ndarray:
    """Scales each row to length one, so that x'F y has unit variance for standard normal x and y."""
    return forms / np.linalg.norm(forms, axis=-1, keepdims=True)


def _each_once(order: np.ndarray, count: int, drawn: np.ndarray) -> np.ndarray:
    """Assigns each id below `count` once, by `order`, then falls back to the drawn ids."""
    return np.where(order < count, order, drawn)


def _times(matrix: np.ndarray, vectors: Vectors) -> list[np.ndarray]:
    """Multiplies matrix and vector of each sample, element by element: BLAS would round by the number of samples."""
    return [_sum_of_products(row, vectors) for row in matrix]


def _sum_of_products(x: Vectors, y: Vectors) -> np.ndarray:
    return np.asarray(sum(value * other for value, other in zip(x, y, strict=True)))


def _shared(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the form A and the projection P, whose rows are orthonormal."""
    form = unit(normal(seed, FORM, 0, np.arange(WIDTH * WIDTH), 0)).reshape(WIDTH, WIDTH)
    projection, _ = np.linalg.qr(normal(seed, FORM, 0, np.arange(WIDTH * NARROW), 1).reshape(WIDTH, NARROW))
    return form, projection.T
