"""Declares what a model says about the parameters that it looks up by ids."""

from collections.abc import Mapping
from typing import Protocol, cast

from torch import nn


class EmbeddingModel(Protocol):
    """Describes a module with embedding tables.

    Attributes:
        tables: the vocabulary of each parameter or buffer that is looked up by ids, by its name in the module.
        vocabularies: the vocabulary of each feature that holds ids, by feature.
    """

    tables: Mapping[str, str]
    vocabularies: Mapping[str, str]


def embedding_model(model: nn.Module) -> EmbeddingModel:
    """Returns `model` itself, typed. A type checker takes all attributes of an nn.Module for tensors or modules."""
    return cast(EmbeddingModel, model)
