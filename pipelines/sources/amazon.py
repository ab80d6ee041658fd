"""Reads Amazon reviews: a folder of CATEGORY_5.json.gz files of JSON lines; the domain is the category.

Every review is a positive, regardless of its stars. As in the published code, two reviews of an item by one user are
two samples if their stars differ, and one sample if they agree.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import MALFORMED, feature_columns, require_path
from training.config import DataConfig

_FIELDS = ("reviewerID", "asin", "overall", "unixReviewTime")
_FURTHER = ("reviewTime", "reviewerName", "verified", "vote", "style", "summary", "reviewText")  # read for features
_FILES = "*.json.gz"


def read(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads the reviews.

    | reviewerID | asin | overall | unixReviewTime | (file)               |
    | A1         | B7   | 5.0     | 1441324800     | Gift_Cards_5.json.gz |
     ->
    | user | item | domain     | time       | event |
    | A1   | B7   | Gift_Cards | 1441324800 | 5.0   |
    """
    require_path(spark, f"{data.path.rstrip('/')}/{_FILES}")
    # spark.read.json would skip a line such as [] silently
    lines = spark.read.text(data.path, pathGlobFilter=_FILES).where("trim(value) != ''")
    fields = (*_FIELDS, *_FURTHER) if data.features else _FIELDS
    schema = ", ".join(f"{field} STRING" for field in (*fields, MALFORMED))
    parsed = F.from_json("value", schema, {"columnNameOfCorruptRecord": MALFORMED})
    encoded = F.replace(
        F.input_file_name(), F.lit("+"), F.lit("%2B")
    )  # url_decode would turn a plus in a file name into a blank
    reviews = lines.select(parsed.alias("review"), encoded.alias("file")).select("review.*", "file")
    return reviews.select(
        F.col("reviewerID").alias("user"),
        F.col("asin").alias("item"),
        F.regexp_extract(F.url_decode("file"), r"([^/]+?)(_5)?\.json\.gz$", 1).alias("domain"),
        F.col("unixReviewTime").alias("time"),
        F.col("overall").alias("event"),
        *feature_columns(reviews, data),
        MALFORMED,
    )
