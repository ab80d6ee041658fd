# Databricks notebook source
# MAGIC %md
# MAGIC # 1. Build and explore
# MAGIC
# MAGIC A log of who met what where becomes tables: samples with ids, in buckets that workers can deal among themselves, and
# MAGIC one row a domain. `root` is where tables and models go; on a cluster choose a folder that all machines see, by
# MAGIC `MAMDR_SETTINGS="root=file:///dbfs/..."` in the cluster's environment or as a further argument of `start`.

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
# MAGIC Each row of the log is kept, rejected with a reason, or a duplicate of a later one, and the summary adds up.

# COMMAND ----------

summary = build(spark, config)
print(summary)
tables.read(spark, config.table("rejects")).groupBy("column", "reason").count().show()

# COMMAND ----------

# MAGIC %md
# MAGIC A domain is a whole genre string here. A few are large, and half of them have fewer than twenty rows: what makes
# MAGIC a model per domain hopeless, and one model for all unfair to the small ones.

# COMMAND ----------

domains = tables.read(spark, config.table("domains"))
domains.orderBy(F.desc("rows")).select("domain_key", "rows", "positives_train", "users", "items", "head").show(10, False)

# COMMAND ----------

sizes = np.sort(domains.toPandas()["rows"].to_numpy())[::-1]
with axes(6, 3) as (own, svg):
    own.loglog(np.arange(1, len(sizes) + 1), sizes, ".", color=COLOR, markersize=3)
    own.set_xlabel("domains, the largest first")
    own.set_ylabel("samples")
show(svg.getvalue(), config, "domain_sizes")

# COMMAND ----------

# MAGIC %md
# MAGIC Labels differ between domains too. A domain whose test rows have one class has no AUC; it is listed as such later.

# COMMAND ----------

rates = domains.select((F.col("positives_train") / F.col("rows_train")).alias("rate")).toPandas()["rate"]
with axes(6, 3) as (own, svg):
    own.hist(rates, bins=20, color=COLOR)
    own.set_xlabel("share of positives among a domain's training samples")
    own.set_ylabel("domains")
show(svg.getvalue(), config, "label_rates")
