"""The trainer: feed, models, frameworks, parameters, metrics. Imports no pyspark."""
