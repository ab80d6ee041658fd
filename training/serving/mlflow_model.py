"""What MLflow serves: requests of a domain, a user and candidate items, by their keys, to rankings.

A model from code: MLflow stores this file, not a pickle of an object.
"""

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext

from training.errors import UserError
from training.serving.served_model import Ranker

KEPT = {"item_key": "items", "score": "scores", "known_item": "known_items"}


class MamdrModel(PythonModel):
    """Answers a frame of requests: see `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens what the config names; `root` and `cached_domains` there can be overridden when the model is loaded."""
        config = context.model_config
        self._ranker = Ranker(config["served"], config["root"], config["cached_domains"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        """One row a request, in their order.

        Args:
            model_input: domain, user: keys; items: lists of keys.
            params: top_k, how many items each answer has; all, where it is 0.

        Returns:
            items, scores: lists, the best first. known_items: whether the model knows each. known_user; specific:
            whether the domain has a theta^i.

        Raises:
            MlflowException: a request that cannot be answered; MLflow's server makes it HTTP 400 with the message.
        """
        top_k = (params or {}).get("top_k", 0) or None
        try:
            if top_k is not None and top_k < 0:
                raise UserError(f"top_k {top_k} is less than 0")
            return pd.DataFrame([self._answer(row, top_k) for row in model_input.to_dict("records")])
        except UserError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None

    def _answer(self, request: dict, top_k: int | None) -> dict:
        ranked = self._ranker.rank(request["domain"], request["user"], list(request["items"]), top_k)
        lists = {name: ranked[column].to_pylist() for column, name in KEPT.items()}
        return lists | {name: ranked[name][0].as_py() for name in ("known_user", "specific")}


set_model(MamdrModel())
