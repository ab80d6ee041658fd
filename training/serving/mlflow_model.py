"""Ranks the candidates of requests for MLflow's server, by the keys of domain, user and items.

MLflow stores this file ("model from code") instead of a pickled object.
"""

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from training.errors import UserError
from training.serving.served_model import Ranker

LISTS = {"item_key": "items", "score": "scores", "known_item": "known_items"}  # columns of a ranking, as answered


class MamdrModel(PythonModel):
    """Answers a frame of requests with rankings, see `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the exported models. `root` and `cached_domains` of the config can be overridden when loading."""
        config = context.model_config
        self._ranker = Ranker(config["served"], config["root"], config["cached_domains"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        """Ranks the candidates of each request, and returns one row for each request, in the same order.

        Args:
            model_input: domain and user, both keys; items, lists of keys.
            params: top_k, the number of items in an answer; 0 means all.

        Returns:
            items and scores, lists, best first; known_items, whether the model has seen each of them; known_user,
            whether it has seen the user; specific, whether the domain has a theta^i.

        Raises:
            MlflowException: a request cannot be answered. MLflow's server returns HTTP 400 with the message.
        """
        top_k = (params or {}).get("top_k", 0) or None
        try:
            if top_k is not None and top_k < 0:
                raise UserError(f"top_k {top_k} is less than 0: use 0 for all items")
            return pd.DataFrame([self._answer(row, top_k) for row in model_input.to_dict("records")])
        except UserError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None

    def _answer(self, request: dict, top_k: int | None) -> dict:
        ranked = self._ranker.rank(request["domain"], request["user"], list(request["items"]), top_k)
        lists = {name: ranked[column].to_pylist() for column, name in LISTS.items()}
        return lists | {name: ranked[name][0].as_py() for name in ("known_user", "specific")}


set_model(MamdrModel())
