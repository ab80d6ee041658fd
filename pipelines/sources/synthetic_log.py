"""A log with the shape of Taobao-online and a planted truth; pure functions on NumPy arrays.

Every value is a function of (seed, row number), so any part of the log can be drawn alone, in any order.

The logit of a sample of domain d, user u and item v comes from a form that all domains share and one of the domain's
own, both of unit variance, with c the conflict (data.synthetic.conflict):

    logit = 2 (sqrt(1 - c) u'A v + sqrt(c) (P u)'B_d (P v)) - 1 + 0.5 e_d

u and v are standard normal vectors of 8, P is a projection to 4, and e_d is standard normal.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, ndtri

from training.config import DataConfig
from training.errors import UserError
from training.hashing import hash_keys

WIDTH, NARROW = 8, 4
SIZE_EXPONENT = 0.9  # a domain's rows fall as 1 / rank^0.9, its first one apart
USER_EXPONENT = 0.5  # of the draws of users and items: the density at rank r falls as 1 / r^exponent
ITEM_EXPONENT = 0.7
ORDER, USER, ITEM, FIRST_ITEM, VECTOR, FORM, BIAS, LABEL, NOISE, USER_ORDER, ITEM_ORDER = range(11)  # streams of draws


@dataclass(frozen=True)
class Shape:
    """How many of everything there are. Each domain, user and item occurs at least once."""

    domains: int
    users: int
    items: int
    samples: int

    @classmethod
    def of(cls, data: DataConfig) -> "Shape":
        """The shape at data.scale; the number of domains stays as it is. Raises UserError if samples are fewer."""
        whole = data.synthetic
        scaled = [max(1, round(count * data.scale)) for count in (whole.users, whole.items, whole.samples)]
        if scaled[-1] < whole.domains:
            raise UserError(
                f"data.scale {data.scale} gives {scaled[-1]} samples to {whole.domains} domains, of which each must "
                "have one: set a larger data.scale, or a smaller data.synthetic.domains"
            )
        return cls(whole.domains, *scaled)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where the samples of each domain end, the largest domain first: shape (domains,), the last is `samples`."""
        shares = np.arange(1, self.domains + 1, dtype=np.float64) ** -SIZE_EXPONENT
        further = np.round((self.samples - self.domains) * np.cumsum(shares) / shares.sum())
        return further.astype(np.int64) + np.arange(1, self.domains + 1)


@dataclass(frozen=True)
class Log:
    """Samples as drawn. domain, user, item: int64; label: int8, 0 or 1; logit: float64. Shapes (rows,)."""

    domain: np.ndarray
    user: np.ndarray
    item: np.ndarray
    label: np.ndarray
    logit: np.ndarray


def draw_log(rows: np.ndarray, shape: Shape, seed: int, conflict: float, noise: float) -> Log:
    """The samples with these numbers, each from 0 to shape.samples - 1.

    A user is any of all; an item is one of the domain's own range of items, which overlaps those of other domains.
    """
    place = scatter(rows, shape.samples, seed, ORDER)
    domain = np.searchsorted(shape.ends, place, side="right")
    user = _each_once(
        scatter(rows, shape.samples, seed, USER_ORDER),
        shape.users,
        power_law(uniform(seed, USER, rows), np.int64(shape.users), USER_EXPONENT),
    )
    size = np.diff(shape.ends, prepend=0)[domain]
    offset = power_law(uniform(seed, ITEM, rows), np.minimum(size, shape.items), ITEM_EXPONENT)
    first = (uniform(seed, FIRST_ITEM, domain) * shape.items).astype(np.int64)
    item = _each_once(scatter(rows, shape.samples, seed, ITEM_ORDER), shape.items, (first + offset) % shape.items)
    logit = true_logit(domain, user, item, seed, conflict)
    label = (uniform(seed, LABEL, rows) < expit(logit)) ^ (uniform(seed, NOISE, rows) < noise)
    return Log(domain, user, item, label.astype(np.int8), logit)


def rows_of(domains: range, shape: Shape, seed: int) -> np.ndarray:
    """The numbers of all samples of consecutive domains, shape (rows,), one domain after the other."""
    first, end = (int(shape.ends[domain - 1]) if domain else 0 for domain in (domains.start, domains.stop))
    return gather(np.arange(first, end), shape.samples, seed, ORDER)


def true_logit(domain: np.ndarray, user: np.ndarray, item: np.ndarray, seed: int, conflict: float) -> np.ndarray:
    u, v = vectors(USER, user, seed).T, vectors(ITEM, item, seed).T
    shared_form, projection = _shared(seed)
    known, place = np.unique(domain, return_inverse=True)
    own_form = unit(normal(seed, FORM, known[:, None], np.arange(NARROW * NARROW)))
    own_form = own_form.reshape(-1, NARROW, NARROW).transpose(1, 2, 0)[:, :, place]
    shared = bilinear(u, shared_form, v)
    own = bilinear(_times(projection, u), own_form, _times(projection, v))
    return 2 * (np.sqrt(1 - conflict) * shared + np.sqrt(conflict) * own) - 1 + 0.5 * normal(seed, BIAS, known)[place]


def bilinear(x: np.ndarray, form: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x'F y of n samples. x, y: shape (width, n); form: (width, width), or (width, width, n), one for each sample."""
    return sum(value * row for value, row in zip(x, _times(form, y), strict=True))


def vectors(owner: int, ids: np.ndarray, seed: int) -> np.ndarray:
    """The vectors of users (owner = USER) or items (ITEM), shape (ids, WIDTH)."""
    return normal(seed, VECTOR, owner, ids[:, None], np.arange(WIDTH))


def scatter(rows: np.ndarray, samples: int, seed: int, stream: int) -> np.ndarray:
    """A permutation of range(samples) at `rows`: (step * row + start) mod samples, where step and samples are coprime.

    `samples` is below 2^31, so that products fit.
    """
    step, start = _scattering(samples, seed, stream)
    return (rows * np.int64(step) + start) % samples


def gather(places: np.ndarray, samples: int, seed: int, stream: int) -> np.ndarray:
    """The rows that `scatter` sends to these places."""
    step, start = _scattering(samples, seed, stream)
    return (places - start) % samples * np.int64(pow(step, -1, samples)) % samples


def _scattering(samples: int, seed: int, stream: int) -> tuple[int, int]:
    """The step and the start."""
    step, start = (int(hash_keys(seed, stream, part) % np.uint64(samples)) for part in (0, 1))
    while np.gcd(step, samples) != 1:
        step += 1
    return step, start


def power_law(draw: np.ndarray, count: np.ndarray, exponent: float) -> np.ndarray:
    """Ranks from 0 to count - 1 by uniform draws; the density at rank r falls as 1 / r^exponent, exponent < 1."""
    return np.minimum((count * draw ** (1 / (1 - exponent))).astype(np.int64), count - 1)


def uniform(*keys: np.ndarray | int) -> np.ndarray:
    """Draws between 0 and 1, both exclusive, by keys."""
    return ((hash_keys(*keys) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(*keys: np.ndarray | int) -> np.ndarray:
    """Standard normal draws by keys."""
    return ndtri(uniform(*keys))


def unit(forms: np.ndarray) -> np.ndarray:
    """Each line of length one: x'F y then has unit variance for standard normal x and y."""
    return forms / np.linalg.norm(forms, axis=-1, keepdims=True)


def _each_once(order: np.ndarray, count: int, drawn: np.ndarray) -> np.ndarray:
    """Number `order` where there is such a one, so that none is left out, and else what was drawn."""
    return np.where(order < count, order, drawn)


def _times(matrix: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    """Matrix times vector of each sample, element by element: the sums of BLAS depend on how many samples there are."""
    return [sum(value * vector for value, vector in zip(row, vectors, strict=True)) for row in matrix]


def _shared(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The form A and the projection P, whose lines are orthonormal."""
    form = unit(normal(seed, FORM, 0, np.arange(WIDTH * WIDTH), 0)).reshape(WIDTH, WIDTH)
    projection, _ = np.linalg.qr(normal(seed, FORM, 0, np.arange(WIDTH * NARROW), 1).reshape(WIDTH, NARROW))
    return form, projection.T
