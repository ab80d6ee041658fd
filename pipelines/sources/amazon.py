"""Amazon reviews: a folder of CATEGORY_5.json.gz files of JSON lines; the domain is the category.

Every review is a positive, whatever its stars. As in the published code, a user's two reviews of one item are two
samples when their stars differ, and one when they agree.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import MALFORMED, require_path
from training.config import DataConfig

_SCHEMA = f"reviewerID STRING, asin STRING, overall STRING, unixReviewTime STRING, {MALFORMED} STRING"
_FILES = "*.json.gz"


def read(spark: SparkSession, data: DataConfig) -> DataFrame:
    """| reviewerID | asin | overall | unixReviewTime | (file)               |
    | A1         | B7   | 5.0     | 1441324800     | Gift_Cards_5.json.gz |
     ->
    | user | item | domain     | time       | event |
    | A1   | B7   | Gift_Cards | 1441324800 | 5.0   |
    """
    pattern = require_path(spark, f"{data.path.rstrip('/')}/{_FILES}")
    lines = spark.read.json(pattern, schema=_SCHEMA, columnNameOfCorruptRecord=MALFORMED)
    encoded = F.replace(F.input_file_name(), F.lit("+"), F.lit("%2B"))  # a plus is no blank in a file's name
    return lines.select(
        F.col("reviewerID").alias("user"),
        F.col("asin").alias("item"),
        F.regexp_extract(F.url_decode(encoded), r"([^/]+?)(_5)?\.json\.gz$", 1).alias("domain"),
        F.col("unixReviewTime").alias("time"),
        F.col("overall").alias("event"),
        MALFORMED,
    )
