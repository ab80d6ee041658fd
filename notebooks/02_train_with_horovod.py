# Databricks notebook source
# MAGIC %md
# MAGIC # 2. Train with Horovod
# MAGIC
# MAGIC Domain Negotiation learns the parameters θˢ that all domains share. Each worker trains on its own domains, one after
# MAGIC another, with an inner optimiser. Then θˢ moves part of the way to the workers' mean. Run notebook 1 before.

# COMMAND ----------

from pipelines.engine.notebook import show, start
from pipelines.train_on_spark import train_on_spark
from training.report.svg_plots import COLOR, OTHER_COLORS, axes
from training.data.snapshot import take_snapshot
from training.artifacts.manifest import read_manifest
from training.artifacts.model_names import model_path, shared_version

spark, config = start("conf/ml_latest_small.yaml", "framework.name=mamdr")

# COMMAND ----------

# MAGIC %md
# MAGIC The ranks are tasks of a Spark job, `spark.default.parallelism` of them. Outside Spark, the same command is
# MAGIC `horovodrun -np 2 python training/train.py --config conf/ml_latest_small.yaml`. If you run the cell again, training
# MAGIC resumes from its checkpoints, or reports that it is done.

# COMMAND ----------

summary = train_on_spark(spark, config)
print(summary)

# COMMAND ----------

# MAGIC %md
# MAGIC Training stops when the mean AUC over domains, on validation rows, has not risen for `training.patience` epochs. The
# MAGIC best epoch is kept.

# COMMAND ----------

manifest = read_manifest(model_path(config, shared_version(config, take_snapshot(config).version)))
history = manifest["progress"]["history"]
with axes(6, 3) as (axis, svg):
    axis.plot([epoch["epoch"] for epoch in history], [epoch["val_mean_domain_auc"] for epoch in history], "o-", color=COLOR)
    axis.axvline(manifest["progress"]["best_epoch"], color=OTHER_COLORS[0], linestyle="--", label="kept")
    axis.set_xlabel("epoch")
    axis.set_ylabel("mean-domain AUC, validation")
    axis.legend()
show(svg.getvalue(), config, "learning_curve")
