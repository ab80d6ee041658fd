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
    # spark.read.json would pass over a line such as [] without a word
    lines = spark.read.text(pattern).where("trim(value) != ''")
    parsed = F.from_json("value", _SCHEMA, {"columnNameOfCorruptRecord": MALFORMED})
    encoded = F.replace(F.input_file_name(), F.lit("+"), F.lit("%2B"))  # a plus is no blank in a file's name
    return lines.select(parsed.alias("review"), encoded.alias("file")).select(
        F.col("review.reviewerID").alias("user"),
        F.col("review.asin").alias("item"),
        F.regexp_extract(F.url_decode("file"), r"([^/]+?)(_5)?\.json\.gz$", 1).alias("domain"),
        F.col("review.unixReviewTime").alias("time"),
        F.col("review.overall").alias("event"),
        f"review.{MALFORMED}",
    )
