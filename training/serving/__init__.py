"""The model that answers online: one process, without Spark.

keys.py finds ids by keys, in files that pipelines/export_model.py has written; ranker.py ranks candidates; pyfunc.py is
what MLflow serves.
"""
