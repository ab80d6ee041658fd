"""Ids by vocabulary: several features, such as an item and a history of items, may look up the same rows."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def by_vocabulary(vocabularies: Mapping[str, str], wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """{vocabulary: its features} of the `wanted` vocabularies, from {feature: vocabulary}."""
    return {
        vocabulary: tuple(sorted(feature for feature, of in vocabularies.items() if of == vocabulary))
        for vocabulary in sorted(wanted)
    }


def renumber_ids(
    features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The distinct ids of each vocabulary, sorted, and the features with those ids replaced by their places there.

    Example: item_id [7, 3] and history [[3, 9], [7, 7]] of one vocabulary give ids [3, 7, 9], item_id [1, 0] and
    history [[0, 2], [1, 1]]. Features of no vocabulary stay as they are.
    """
    ids, numbered = {}, dict(features)
    for vocabulary, names in features_of.items():
        ids[vocabulary], places = torch.unique(_joined(features, names), return_inverse=True)
        sizes = [features[name].numel() for name in names]
        for name, part in zip(names, places.split(sizes), strict=True):
            numbered[name] = part.view(features[name].shape)
    return ids, numbered


def distinct_ids(features: Mapping[str, Tensor], features_of: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """The distinct ids of each vocabulary in `features`, sorted."""
    return {vocabulary: torch.unique(_joined(features, names)) for vocabulary, names in features_of.items()}


def _joined(features: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """All ids one after the other; as integers also where there are no rows, whose columns have no type."""
    return torch.cat([features[name].flatten() for name in names]).long()
