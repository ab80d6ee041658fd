"""Serves a model online, in one process and without Spark.

key_files.py looks up ids by keys, in files that pipelines/export_model.py writes. ranking.py chooses the best items of
each request. served_model.py opens the exported models and ranks with them. mlflow_model.py wraps it for MLflow.
"""
