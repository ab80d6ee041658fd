# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Build and explore
# MAGIC
# MAGIC Turns an interaction log into tables: samples with ids, in buckets that workers share, and one row for each domain.
# MAGIC
# MAGIC Tables and models go to `root`. On a cluster, choose a folder that all machines see: set
# MAGIC `MAMDR_SETTINGS="root=file:///dbfs/..."` in the cluster's environment, or pass it to `start` as another argument.

# COMMAND ----------

import numpy as np
from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.build_domains import build
from pipelines.engine.notebook import show, start
from training.report.svg_plots import COLOR, axes

spark, config = start("conf/ml_latest_small.yaml")

# COMMAND ----------

# MAGIC %md
# MAGIC Each row of the log is kept, rejected with a reason, or a duplicate of a later row. The summary counts all three.

# COMMAND ----------

summary = build(spark, config)
print(summary)
tables.read(spark, config.table("rejects")).groupBy("column", "reason").count().show()

# COMMAND ----------

# MAGIC %md
# MAGIC A domain here is a whole genre string. A few domains are large, and half of them have fewer than twenty rows. That is
# MAGIC too little for one model per domain, and one model for all neglects the small ones.

# COMMAND ----------

domains = tables.read(spark, config.table("domains"))
domains.orderBy(F.desc("rows")).select("domain_key", "rows", "positives_train", "users", "items", "head").show(10, False)

# COMMAND ----------

sizes = np.sort(domains.toPandas()["rows"].to_numpy())[::-1]
with axes(6, 3) as (axis, svg):
    axis.loglog(np.arange(1, len(sizes) + 1), sizes, ".", color=COLOR, markersize=3)
    axis.set_xlabel("domains, the largest first")
    axis.set_ylabel("samples")
show(svg.getvalue(), config, "domain_sizes")

# COMMAND ----------

# MAGIC %md
# MAGIC Label rates differ between domains too. A domain whose test rows have one class has no AUC, and is reported as such.

# COMMAND ----------

rates = domains.select((F.col("positives_train") / F.col("rows_train")).alias("rate")).toPandas()["rate"]
with axes(6, 3) as (axis, svg):
    axis.hist(rates, bins=20, color=COLOR)
    axis.set_xlabel("share of positives among a domain's training samples")
    axis.set_ylabel("domains")
show(svg.getvalue(), config, "label_rates")
