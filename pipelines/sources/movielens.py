"""Reads MovieLens: ratings.csv and movies.csv in one folder; the domain is a movie's whole genre string."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import MALFORMED, feature_columns, one_row_each, read_csv_strings, require_columns
from training.config import DataConfig

POSITIVE_AT = 4.0


def read(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads the ratings with the genres of their movie.

    | userId | movieId | rating | timestamp |      | user | item | domain | label | time |
    | 1      | 7       | 4.5    | 964982703 |  ->  | 1    | 7    | Drama  | 4.5   | 964982703 |
    """
    ratings_path, movies_path = (f"{data.path.rstrip('/')}/{name}" for name in ("ratings.csv", "movies.csv"))
    ratings = read_csv_strings(spark, ratings_path)
    require_columns(ratings, ("userId", "movieId", "rating", "timestamp"), ratings_path)
    movies = read_csv_strings(spark, movies_path)
    require_columns(movies, ("movieId", "genres"), movies_path)
    log = ratings.join(one_row_each(movies, "movieId"), "movieId", "left")
    return log.select(
        F.col("userId").alias("user"),
        F.col("movieId").alias("item"),
        F.col("genres").alias("domain"),
        F.col("rating").alias("label"),
        F.col("timestamp").alias("time"),
        *feature_columns(log, data),
        MALFORMED,
    )
