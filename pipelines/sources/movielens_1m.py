"""Reads MovieLens-1M in RecBole's format: ml-1m.inter, ml-1m.user and ml-1m.item in one folder.

data.columns.domain names the column of the domain. Columns for domains and features are user_id, item_id, rating,
timestamp, age, age_group, gender, occupation, zip_code, movie_title, release_year, genre (all genres of a movie,
separated by blanks) and first_genre.
"""

from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.sources.files import one_row_each, read_csv_strings, require_columns
from pipelines.sources.table import select_columns
from training.config import DataConfig


def read(spark: SparkSession, data: DataConfig) -> DataFrame:
    """Reads the ratings with the columns of their user and movie; nulls where a user or movie is not listed.

    | user_id | item_id | rating | ... | age | genre       |      | user | item | domain    | label | time |
    | 1       | Heat    | 5      |     | 18  | Action Crime|  ->  | 1    | Heat | under 25  | 5     | ...  |
    """
    ratings, users, movies = (_read(spark, data, kind) for kind in ("inter", "user", "item"))
    log = ratings.join(one_row_each(users, "user_id"), "user_id", "left")
    log = log.join(one_row_each(movies, "item_id"), "item_id", "left")
    age = F.col("age").try_cast("int")  # the youngest age of its group: 1, 18, 25, 35, 45, 50 or 56
    log = log.withColumns(
        {
            "age_group": F.when(age < 25, "under 25").when(age < 35, "25 to 34").when(age >= 35, "35 and over"),
            "first_genre": F.element_at(F.split("genre", " "), 1),
        }
    )
    columns = replace(data.columns, user="user_id", item="item_id", label="rating", time="timestamp")
    return select_columns(log, replace(data, columns=columns))


REQUIRED_COLUMNS = {
    "inter": ("user_id", "item_id", "rating", "timestamp"),
    "user": ("user_id", "age"),
    "item": ("item_id", "genre"),
}


def _read(spark: SparkSession, data: DataConfig, kind: str) -> DataFrame:
    """Reads a tab-separated file; a column named user_id:token in its header becomes user_id."""
    path = f"{data.path.rstrip('/')}/ml-1m.{kind}"
    frame = read_csv_strings(spark, path, separator="\t")
    frame = frame.toDF(*[name.split(":")[0] for name in frame.columns])
    require_columns(frame, REQUIRED_COLUMNS[kind], path)
    return frame
