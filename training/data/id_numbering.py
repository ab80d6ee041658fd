"""Numbers the ids in a batch from 0, by vocabulary.

Features of one vocabulary look up the same table, for example an item and the history of items before it.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def features_by_vocabulary(vocabularies: Mapping[str, str], chosen: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns the features of each of the `chosen` vocabularies, from the vocabulary of each feature.

    >>> features_by_vocabulary({"item_id": "item_id", "history": "item_id", "user_id": "user_id"}, ["item_id"])
    {'item_id': ('history', 'item_id')}
    """
    return {
        vocabulary: tuple(sorted(feature for feature, its_own in vocabularies.items() if its_own == vocabulary))
        for vocabulary in sorted(chosen)
    }


def renumber_ids(
    features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the distinct ids of each vocabulary, sorted, and the features with each id replaced by its index there.

    Features of other vocabularies stay as they are.

    >>> features = {"item_id": torch.tensor([7, 3]), "history": torch.tensor([[3, 9], [7, 7]])}
    >>> ids, numbered = renumber_ids(features, {"item_id": ("history", "item_id")})
    >>> ids["item_id"].tolist(), numbered["item_id"].tolist(), numbered["history"].tolist()
    ([3, 7, 9], [1, 0], [[0, 2], [1, 1]])
    """
    ids, numbered = {}, dict(features)
    for vocabulary, names in features_of.items():
        ids[vocabulary], indices = torch.unique(_concatenate(features, names), return_inverse=True)
        sizes = [features[name].numel() for name in names]
        for name, indices_of_feature in zip(names, indices.split(sizes), strict=True):
            numbered[name] = indices_of_feature.view(features[name].shape)
    return ids, numbered


def distinct_ids(features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Returns the distinct ids of each vocabulary in `features`, sorted."""
    return {vocabulary: torch.unique(_concatenate(features, names)) for vocabulary, names in features_of.items()}


def _concatenate(features: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """Concatenates all ids of the features as int64; columns without rows have another type."""
    return torch.cat([features[name].flatten() for name in names]).long()
