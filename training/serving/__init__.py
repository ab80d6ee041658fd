"""The model that answers online: one process, without Spark.

key_files.py finds ids by keys, in files that pipelines/export_model.py has written; served_model.py ranks candidates;
mlflow_model.py is what MLflow serves.
"""
