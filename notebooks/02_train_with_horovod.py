# Databricks notebook source
# MAGIC %md
# MAGIC # 2. Train with Horovod
# MAGIC
# MAGIC Domain Negotiation learns the parameters θˢ that all domains share. Each worker walks its own domains with an inner
# MAGIC optimiser, then all of them move θ a part of the way to where they got on average. Notebook 1 must have run.

# COMMAND ----------

from pipelines.engine.notebook import show, start
from pipelines.train_on_spark import train_on_spark
from training.report.svg_plots import COLOR, OTHER_COLORS, axes
from training.data.snapshot import take_snapshot
from training.artifacts.model_store import read_manifest
from training.artifacts.model_names import model_path, shared_version

spark, config = start("conf/ml_latest_small.yaml", "framework.name=mamdr")

# COMMAND ----------

# MAGIC %md
# MAGIC The ranks are tasks of a Spark job, as many as `spark.default.parallelism`. Outside Spark the same is
# MAGIC `horovodrun -np 2 python training/train.py --config conf/ml_latest_small.yaml`. Run the cell again: it goes on from
# MAGIC its checkpoints, or finds that it is done.

# COMMAND ----------

summary = train_on_spark(spark, config)
print(summary)

# COMMAND ----------

# MAGIC %md
# MAGIC Training stops when the mean AUC over domains, on validation rows, has not risen for `training.patience` epochs, and
# MAGIC the best epoch is kept.

# COMMAND ----------

manifest = read_manifest(model_path(config, shared_version(config, take_snapshot(config).version)))
history = manifest["progress"]["history"]
with axes(6, 3) as (own, svg):
    own.plot([line["epoch"] for line in history], [line["val_mean_domain_auc"] for line in history], "o-", color=COLOR)
    own.axvline(manifest["progress"]["best_epoch"], color=OTHER_COLORS[0], linestyle="--", label="kept")
    own.set_xlabel("epoch")
    own.set_ylabel("mean-domain AUC, validation")
    own.legend()
show(svg.getvalue(), config, "learning_curve")
