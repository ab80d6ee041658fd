# Databricks notebook source
# MAGIC %md
# MAGIC # 4. Score, and add a domain
# MAGIC
# MAGIC The model ranks items for users, in each domain with θˢ + θⁱ. Run notebooks 1 to 3 before.

# COMMAND ----------

from pathlib import Path

from pyspark.sql import functions as F

from pipelines.engine import tables
from pipelines.add_domain import add_domain
from pipelines.engine.notebook import start
from pipelines.score import score

spark, config = start("conf/ml_latest_small.yaml", "framework.name=mamdr", "score.top_k=3")

# COMMAND ----------

print(score(spark, config))
scores = tables.read(spark, config.table("scores"))
scores.orderBy("user_key", "domain_key", "rank").select("user_key", "domain_key", "rank", "item_key", "score").show(9)

# COMMAND ----------

# MAGIC %md
# MAGIC A new theme opens. Its films and users are known, its domain is new, and its rows come in a separate log. θˢ and the θⁱ
# MAGIC of all other domains stay the same, bit by bit. The new domain gets its own θⁱ.

# COMMAND ----------

samples = tables.read(spark, config.table("samples")).where("domain_id = 0")
users, items = (tables.read(spark, config.table(name)) for name in ("users", "items"))
theme = (
    samples.join(users.select(F.col("key").alias("user"), F.col("id").alias("user_id")), "user_id")
    .join(items.select(F.col("key").alias("item"), F.col("id").alias("item_id")), "item_id")
    .select(F.lit("a new theme").alias("domain"), "user", "item", F.col("label").cast("int").alias("label"))
)
log = str(Path(config.root, "new_theme").absolute())
theme.write.mode("overwrite").parquet(log)

# COMMAND ----------

spark, new = start(
    "conf/ml_latest_small.yaml",
    "framework.name=mamdr",
    "score.top_k=3",
    "data.source=parquet",
    f"data.path={log}",
    "data.columns.label=label",
)
print(add_domain(spark, new))

# COMMAND ----------

print(score(spark, new))
scores = tables.read(spark, new.table("scores")).where("domain_key = 'a new theme'")
scores.orderBy("user_key", "rank").select("user_key", "rank", "item_key", "score", "specific").show(9)
