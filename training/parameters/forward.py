"""Runs forward passes over many rows: with theta^S alone, and with theta^S + theta^i."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from training.parameters.shared import SharedParameters

PREDICT_ROWS = 65_536  # at most so many rows in one forward pass
MOST_DOMAINS = 64  # at most so many domains side by side


@torch.no_grad()
def predict(model: nn.Module, theta: "SharedParameters", columns: Columns) -> np.ndarray:
    """Computes the logits of theta^S, shape (rows,)."""
    model.eval()
    logits = [np.empty(0, np.float32)]
    for begin in range(0, len(columns[LABEL]), PREDICT_ROWS):
        batch = {name: column[begin : begin + PREDICT_ROWS] for name, column in columns.items()}
        logits.append(shared_logits(model, theta, {}, to_features(batch, theta.like.device)).cpu().numpy())
    return np.concatenate(logits)


def shared_logits(
    model: nn.Module, theta: "SharedParameters", dense: Mapping[str, Tensor], features: Mapping[str, Tensor]
) -> Tensor:
    """Computes the logits of theta^S, with the values in `dense` in place of the parameters of these names.

    Returns:
        shape (rows,).
    """
    if not any_remote(theta.tables):
        return functional_call(model, dict(dense), (features,))
    ids, numbered = renumber_ids(features, theta.features_of)
    looked_up = theta.rows({**theta.tables, **theta.frozen, **theta.statistics}, ids)
    return functional_call(model, {**dense, **looked_up}, (numbered,))


@torch.no_grad()
def domain_logits(
    model: nn.Module, theta: "SharedParameters", offset: DomainOffset | None, features: Mapping[str, Tensor]
) -> Tensor:
    """Computes the logits of theta^S + theta^i for rows of one domain, or of theta^S if `offset` is None.

    The id -1 stands for a user, item or value that the model does not know. Its rows are zeros, the mean of the
    initial embeddings.

    Returns:
        shape (rows,).
    """
    model.eval()
    ids, numbered = renumber_ids(features, theta.features_of)
    looked_up = theta.rows(
        {**theta.tables, **theta.frozen, **theta.statistics},
        {vocabulary: distinct.clamp(min=0) for vocabulary, distinct in ids.items()},
    )
    for name, rows in looked_up.items():
        row_ids = ids[theta.vocabulary_of[name]]
        rows[row_ids < 0] = 0
        if offset is not None and name in offset.rows:
            offset_ids = offset.ids[theta.vocabulary_of[name]]
            rows[torch.isin(row_ids, offset_ids)] += offset.rows[name][torch.isin(offset_ids, row_ids)]
    offsets = {} if offset is None else unflatten(offset.dense, theta)
    dense = {name: theta.dense[name] + value for name, value in offsets.items()}
    return functional_call(model, {**dense, **looked_up}, (numbered,))


@torch.no_grad()
def predict_group(
    model: nn.Module, theta: "SharedParameters", group: OffsetGroup, rows: DomainRows, lines: Sequence[np.ndarray]
) -> np.ndarray:
    """Computes the logits of theta^S + theta^i for rows of each domain of a group.

    Args:
        model: the backbone.
        theta: theta^S.
        group: theta^i of the domains.
        rows: rows of all domains.
        lines: for each domain of the group the numbers of its rows in `rows`.

    Returns:
        The logits of the first domain's rows, then those of the second, and so on, flat.
    """
    model.eval()
    step = max(1, PREDICT_ROWS // len(lines))
    logits_of: list[list[Tensor]] = [[] for _ in lines]
    for begin in range(0, max(map(len, lines)), step):
        batch = [line[begin : begin + step] for line in lines]
        features, _, _ = rows.take(batch)
        logits = group_logits(model, theta, group, features)
        for index, line in enumerate(batch):
            logits_of[index].append(logits[index, : len(line)])
    return torch.cat([piece for pieces in logits_of for piece in pieces]).cpu().numpy()


def predict_adapted(
    model: nn.Module,
    theta: "SharedParameters",
    columns: Columns,
    offsets: Mapping[int, DomainOffset],
    shared: np.ndarray,
) -> np.ndarray:
    """Computes the logits of theta^S + theta^i.

    Args:
        model: the backbone.
        theta: theta^S.
        columns: rows of any domains.
        offsets: theta^i by domain_id.
        shared: the logits of theta^S, shape (rows,), which are returned for domains without theta^i.

    Returns:
        shape (rows,).
    """
    rows = DomainRows(columns, theta.like.dtype, theta.like.device)
    result = shared.copy()
    present = sorted((domain for domain in offsets if domain in rows.rows_of), key=lambda d: len(rows.rows_of[d]))
    for begin in range(0, len(present), MOST_DOMAINS):
        domains = present[begin : begin + MOST_DOMAINS]
        lines = [rows.rows_of[domain] for domain in domains]
        group = OffsetGroup.stack(theta, [offsets[domain] for domain in domains])
        result[np.concatenate(lines)] = predict_group(model, theta, group, rows, lines)
    return result


def group_logits(
    model: nn.Module, theta: "SharedParameters", group: OffsetGroup, features: dict[str, Tensor]
) -> Tensor:
    """Computes the logits of theta^S + theta^i for rows of each domain of a group, side by side by vmap.

    Embedding rows are gathered before vmap. Inside it, each table has one row for each looked-up id of a line, and the
    ids are 0, 1, 2, ... Tables by domain have a single row, since all rows of a line are of one domain.

    Args:
        model: the backbone.
        theta: theta^S.
        group: theta^i of G domains.
        features: by name, shape (G, rows, ...), a line for each domain; ids are global.

    Returns:
        shape (G, rows).
    """
    dense = {name: theta.dense[name] + offset for name, offset in group.dense.items()}
    ids, numbers = _number_lines(features, theta.features_of)
    looked_up = theta.rows({**theta.frozen, **theta.statistics}, ids)
    for name, table in theta.tables.items():
        vocabulary = theta.vocabulary_of[name]
        positions = _offset_positions(group.ids[vocabulary], ids[vocabulary])
        looked_up[name] = table[ids[vocabulary]] + embedding(positions, group.rows[name].flatten(0, 1))
    others = {name: value for name, value in features.items() if name not in numbers}

    def logits_of_domain(dense: dict, looked_up: dict, others: dict) -> Tensor:
        return functional_call(model, {**dense, **looked_up}, ({**others, **numbers},))

    return vmap(logits_of_domain, randomness="different")(dense, looked_up, others)


def _number_lines(
    features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Numbers the ids of each line 0, 1, 2, ..., repeated ids included.

    Returns:
        The ids by vocabulary, shape (G, n), and their numbers by feature, which are the same in all lines.
    """
    ids, numbers = {}, {}
    for vocabulary, names in features_of.items():
        if vocabulary == "domain_id":
            ids[vocabulary] = features[vocabulary][:, :1].contiguous()
            numbers[vocabulary] = torch.zeros_like(features[vocabulary][0])
            continue
        flat = [features[name].flatten(1) for name in names]
        ids[vocabulary] = torch.cat(flat, dim=1)
        consecutive = torch.arange(ids[vocabulary].shape[1], device=flat[0].device)
        for name, piece in zip(names, consecutive.split([column.shape[1] for column in flat]), strict=True):
            numbers[name] = piece.view(features[name].shape[1:])
    return ids, numbers


def _offset_positions(offset_ids: Tensor, ids: Tensor) -> Tensor:
    """Finds the rows of `ids` (G, n) in a flattened (G, R + 1) table of offsets for `offset_ids` (G, R).

    An id without an offset gets the last row of its line.
    """
    count = offset_ids.shape[1]
    position = torch.searchsorted(offset_ids, ids)
    padding = offset_ids.new_full((len(offset_ids), 1), NO_ID)
    has_offset = torch.cat([offset_ids, padding], dim=1).gather(1, position) == ids
    line_starts = torch.arange(len(offset_ids), device=offset_ids.device).unsqueeze(1) * (count + 1)
    return line_starts + torch.where(has_offset, position, count)
