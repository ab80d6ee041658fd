# Databricks notebook source
# MAGIC %md
# MAGIC # 3. Adapt and evaluate
# MAGIC
# MAGIC θⁱ is what a domain adds to θˢ. The workers have already learned it for the large domains. Spark tasks now learn it
# MAGIC for the long tail, many domains side by side. Validation rows decide how many rounds a group of domains of similar
# MAGIC size keeps; it may be none. Run notebooks 1 and 2 before.

# COMMAND ----------

from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.dr_longtail import dr_longtail
from pipelines.evaluate import evaluate
from pipelines.engine.notebook import show, start
from training.report.svg_plots import COLOR, OTHER_COLORS, axes

spark, config = start("conf/ml_latest_small.yaml", "framework.name=mamdr")

# COMMAND ----------

print(dr_longtail(spark, config))
parameters = tables.read(spark, config.table("domain_parameters"))
parameters.groupBy("rounds").agg(F.count("*").alias("domains"), F.avg("rows_train").alias("training rows")).show()

# COMMAND ----------

# MAGIC %md
# MAGIC Evaluation tests θˢ alone (`dn`) and θˢ + θⁱ (`mamdr`) on the same test rows. The AUC of each domain is exact. The mean
# MAGIC is over domains, so a small domain counts as much as a large one.

# COMMAND ----------

evaluate(spark, config)
metrics = tables.read(spark, config.table("metrics"))
metrics.orderBy(F.desc("evaluated_at"), "model").select("model", "domains_scored", "mean_domain_auc", "auc").show(2)

# COMMAND ----------

by_domain = tables.read(spark, config.table("metrics_by_domain"))
newest = by_domain.where(F.col("evaluated_at") == by_domain.agg(F.max("evaluated_at")).first()[0])
aucs = newest.where("auc IS NOT NULL").toPandas()
with axes(6, 3) as (axis, svg):
    for (model, rows), color in zip(aucs.groupby("model"), (COLOR, *OTHER_COLORS), strict=False):
        axis.semilogx(rows["rows"], rows["auc"], ".", color=color, markersize=4, label=model)
    axis.set_xlabel("test rows of the domain")
    axis.set_ylabel("AUC")
    axis.legend()
show(svg.getvalue(), config, "auc_by_domain")
