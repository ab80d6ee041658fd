"""A model of another library: torch-rechub's Deep & Cross Network, adapted as in docs/ml-engineer.md."""

import torch
from torch import nn
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.ranking import DCN


class RechubDCN(nn.Module):
    def __init__(self, config, schema, vectors):
        super().__init__()
        features = [SparseFeature(name, size, config.embedding_dim) for name, size in schema.sizes.items()]
        self.model = DCN(features, n_cross_layers=2, mlp_params={"dims": config.hidden, "dropout": config.dropout})
        self.tables = {f"model.embedding.embed_dict.{name}.weight": name for name in schema.sizes}

    def forward(self, features):
        return torch.logit(self.model(features), eps=1e-6)
