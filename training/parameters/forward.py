"""Forward passes over many rows, in parts: theta^S alone, and theta^S + theta^i."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import embedding

from training.column_names import LABEL
from training.data.columns import Columns, to_features
from training.data.domain_rows import DomainRows
from training.data.id_numbering import renumber_ids
from training.parameters.domain_offsets import NO_ID, DomainOffset, OffsetGroup, unflatten
from training.parameters.remote_tables import any_remote
from training.parameters.shared import SharedParameters

PREDICT_ROWS = 65_536  # in one forward pass
MOST_DOMAINS = 64  # side by side


@torch.no_grad()
def predict(model: nn.Module, theta: SharedParameters, columns: Columns) -> np.ndarray:
    """The logits of theta^S for rows, shape (rows,)."""
    model.eval()
    parts = [np.empty(0, np.float32)]
    for begin in range(0, len(columns[LABEL]), PREDICT_ROWS):
        part = {name: column[begin : begin + PREDICT_ROWS] for name, column in columns.items()}
        parts.append(shared_logits(model, theta, {}, to_features(part, theta.like.device)).cpu().numpy())
    return np.concatenate(parts)


def shared_logits(
    model: nn.Module, theta: SharedParameters, dense: Mapping[str, Tensor], features: Mapping[str, Tensor]
) -> Tensor:
    """The logits of theta^S, shape (rows,), with other values for the parameters in `dense`."""
    if not any_remote(theta.tables):
        return functional_call(model, dict(dense), (features,))
    ids, numbered = renumber_ids(features, theta.features_of)
    looked_up = theta.rows({**theta.tables, **theta.frozen, **theta.statistics}, ids)
    return functional_call(model, {**dense, **looked_up}, (numbered,))


@torch.no_grad()
def domain_logits(
    model: nn.Module, theta: SharedParameters, specific: DomainOffset | None, features: Mapping[str, Tensor]
) -> Tensor:
    """The logits of theta^S + theta^i, or of theta^S alone, for rows of one domain, shape (rows,).

    An id of -1 stands for a user, item or value that the model does not know: where it looks up a table it finds zeros,
    around which embeddings are drawn.
    """
    model.eval()
    ids, numbered = renumber_ids(features, theta.features_of)
    looked_up = theta.rows(
        {**theta.tables, **theta.frozen, **theta.statistics},
        {vocabulary: wanted.clamp(min=0) for vocabulary, wanted in ids.items()},
    )
    for name, rows in looked_up.items():
        wanted = ids[theta.vocabulary_of[name]]
        rows[wanted < 0] = 0
        if specific is not None and name in specific.rows:
            own = specific.ids[theta.vocabulary_of[name]]
            rows[torch.isin(wanted, own)] += specific.rows[name][torch.isin(own, wanted)]
    offsets = {} if specific is None else unflatten(specific.dense, theta)
    dense = {name: theta.dense[name] + offset for name, offset in offsets.items()}
    return functional_call(model, {**dense, **looked_up}, (numbered,))


@torch.no_grad()
def predict_group(
    model: nn.Module, theta: SharedParameters, group: OffsetGroup, rows: DomainRows, lines: Sequence[np.ndarray]
) -> np.ndarray:
    """The logits of theta^S + theta^i of a group, one line of row numbers a domain, one after the other, flat."""
    model.eval()
    step = max(1, PREDICT_ROWS // len(lines))
    parts: list[list[Tensor]] = [[] for _ in lines]
    for begin in range(0, max(map(len, lines)), step):
        cut = [line[begin : begin + step] for line in lines]
        features, _, _ = rows.take(cut)
        logits = group_logits(model, theta, group, features)
        for index, line in enumerate(cut):
            parts[index].append(logits[index, : len(line)])
    return torch.cat([piece for pieces in parts for piece in pieces]).cpu().numpy()


def predict_adapted(
    model: nn.Module,
    theta: SharedParameters,
    columns: Columns,
    specific: Mapping[int, DomainOffset],
    shared: np.ndarray,
) -> np.ndarray:
    """The logits of theta^S + theta^i; where a domain has no theta^i, its `shared` logits. Shapes (rows,)."""
    rows = DomainRows(columns, theta.like.dtype, theta.like.device)
    result = shared.copy()
    present = sorted((domain for domain in specific if domain in rows.rows_of), key=lambda d: len(rows.rows_of[d]))
    for begin in range(0, len(present), MOST_DOMAINS):
        domains = present[begin : begin + MOST_DOMAINS]
        lines = [rows.rows_of[domain] for domain in domains]
        group = OffsetGroup.stack(theta, [specific[domain] for domain in domains])
        result[np.concatenate(lines)] = predict_group(model, theta, group, rows, lines)
    return result


def group_logits(model: nn.Module, theta: SharedParameters, group: OffsetGroup, features: dict[str, Tensor]) -> Tensor:
    """The logits of theta^S + theta^i for rows of each domain of a group, side by side by vmap.

    Args:
        features: by name, shape (G, rows, ...); ids are global.

    Returns:
        shape (G, rows).

    Every looked-up row is gathered first, one for each id of each sample, so the module sees tables of as many rows as
    a line has ids, numbered 0, 1, 2, ...; of what is looked up by domain it sees one row, for a line is of one domain.
    """
    dense = {name: theta.dense[name] + offset for name, offset in group.dense.items()}
    wanted, numbers = _number_lines(features, theta.features_of)
    looked_up = theta.rows({**theta.frozen, **theta.statistics}, wanted)
    for name, table in theta.tables.items():
        vocabulary = theta.vocabulary_of[name]
        places = _places(group.ids[vocabulary], wanted[vocabulary])
        looked_up[name] = table[wanted[vocabulary]] + embedding(places, group.rows[name].flatten(0, 1))
    others = {name: value for name, value in features.items() if name not in numbers}

    def one(dense: dict, looked_up: dict, others: dict) -> Tensor:
        return functional_call(model, {**dense, **looked_up}, ({**others, **numbers},))

    return vmap(one, randomness="different")(dense, looked_up, others)


def _number_lines(
    features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By vocabulary the ids (G, n) to look up for each line, and by feature their numbers, the same in all lines."""
    wanted, numbers = {}, {}
    for vocabulary, names in features_of.items():
        if vocabulary == "domain_id":
            wanted[vocabulary] = features[vocabulary][:, :1].contiguous()
            numbers[vocabulary] = torch.zeros_like(features[vocabulary][0])
            continue
        flat = [features[name].flatten(1) for name in names]
        wanted[vocabulary] = torch.cat(flat, dim=1)
        places = torch.arange(wanted[vocabulary].shape[1], device=flat[0].device)
        for name, part in zip(names, places.split([one.shape[1] for one in flat]), strict=True):
            numbers[name] = part.view(features[name].shape[1:])
    return wanted, numbers


def _places(ids: Tensor, wanted: Tensor) -> Tensor:
    """Where each of `wanted` (G, n) stands in a flattened (G, R + 1) table with rows for `ids` (G, R)."""
    count = ids.shape[1]
    place = torch.searchsorted(ids, wanted)
    found = torch.cat([ids, ids.new_full((len(ids), 1), NO_ID)], dim=1).gather(1, place) == wanted
    starts = torch.arange(len(ids), device=ids.device).unsqueeze(1) * (count + 1)
    return starts + torch.where(found, place, count)
