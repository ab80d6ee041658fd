import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality

from pipelines.samples.cleaning import parse, rejects
from pipelines.sources import read_log, read_vectors
from training.config import ColumnsConfig, DataConfig, FeatureConfig
from training.errors import UserError

RAW = "user STRING, item STRING, domain STRING, label STRING, time STRING, _malformed STRING"
NO_LABEL = "user STRING, item STRING, domain STRING, _malformed STRING"
COLUMNS = ColumnsConfig(user="u", item="i", domain="d", label="l", time="t")


def read(spark, source, path, **settings):
    return read_log(spark, DataConfig(source=source, path=str(path), **settings))


def check(frame, rows, schema):
    expected = frame.sparkSession.createDataFrame(rows, schema)
    assert_df_equality(frame, expected, ignore_row_order=True, ignore_nullable=True)


def faults(log):
    return {(row["column"], row["reason"]) for row in rejects(parse(log)).collect()}


def test_csv_values_are_read_as_written(spark, tmp_path):
    (tmp_path / "log.csv").write_text('t,u,i,d,l\n1,007,12x,b/c d,1\n2,1e3," x, ""y""",ä,0\n')
    log, positive_at = read(spark, "csv", tmp_path / "log.csv", columns=COLUMNS)
    rows = [("007", "12x", "b/c d", "1", "1", None), ("1e3", ' x, "y"', "ä", "0", "2", None)]
    check(log, rows, RAW)
    assert positive_at is None


def test_csv_lines_with_missing_or_extra_values_are_malformed(spark, tmp_path):
    (tmp_path / "log.csv").write_text("user,item,domain,label\nu1,i1,a,1\nu2,i2,a\nu3,i3,a,1,more\n")
    log, _ = read(spark, "csv", tmp_path / "log.csv", columns=ColumnsConfig(label="label"))
    parsed = parse(log)
    assert [row["user"] for row in parsed.where("reason IS NULL").select("user").collect()] == ["u1"]
    rejected = rejects(parsed).collect()
    assert {(row["column"], row["reason"]) for row in rejected} == {("line", "malformed")}
    assert {json.loads(row["row"])["_malformed"] for row in rejected} == {"u2,i2,a", "u3,i3,a,1,more"}


def test_csv_empty_values_are_null(spark, tmp_path):
    (tmp_path / "log.csv").write_text('user,item,domain\n,i1,a\nu1,"",a\nu1,i1,\n')
    log, _ = read(spark, "csv", tmp_path / "log.csv")
    assert faults(log) == {("user", "null"), ("item", "null"), ("domain", "null")}


def test_each_file_of_a_csv_folder_has_a_header(spark, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"user,item,domain\nu{name},i,d\n")
    log, _ = read(spark, "csv", tmp_path)
    check(log, [("ua", "i", "d", None), ("ub", "i", "d", None)], NO_LABEL)


@pytest.mark.parametrize("name", ["b.csv", "b c%.csv", "b.csv.gz"])
def test_csv_folder_with_two_headers_is_refused(spark, tmp_path, name):
    (tmp_path / "a.csv").write_text("user,item,domain\nu1,i1,d\n")
    other = b"item,user,domain\ni2,u2,d\n"
    (tmp_path / name).write_bytes(gzip.compress(other) if name.endswith("gz") else other)
    with pytest.raises(UserError, match='begins with the line "item,user,domain", but .*/a.csv with "user,item,'):
        read(spark, "csv", tmp_path)


def test_csv_with_a_pandas_index_is_read(spark, tmp_path):
    (tmp_path / "log.csv").write_text(",user,item,domain\n0,u1,i1,d\n")
    check(read(spark, "csv", tmp_path / "log.csv")[0], [("u1", "i1", "d", None)], NO_LABEL)


def test_parquet_columns_become_strings(spark, tmp_path):
    path = str(tmp_path / "log.parquet")
    rows = [(7, "007", 1, 0.5, "1970-01-01 00:00:10"), (None, "x", 2, None, None)]
    spark.createDataFrame(rows, "u BIGINT, i STRING, d INT, l DOUBLE, t STRING").selectExpr(
        "u", "i", "d", "l", "CAST(t AS TIMESTAMP) AS t"
    ).write.parquet(path)
    log, positive_at = read(spark, "parquet", path, columns=COLUMNS, positive_at=0.5)
    check(log, [("7", "007", "1", "0.5", "1970-01-01 00:00:10", None), (None, "x", "2", None, None, None)], RAW)
    assert positive_at == 0.5
    assert parse(log, positive_at).where("reason IS NULL").first()["time"] == 10.0


def test_parquet_keys_in_folder_names_are_read_as_written(spark, tmp_path):
    keys = ["007", "8", "b/c d", "1e3", "50%", "ä:🙂"]
    frame = spark.createDataFrame([(f"u{key}", "i", key) for key in keys], "user STRING, item STRING, domain STRING")
    frame.write.partitionBy("domain").parquet(str(tmp_path / "log"))
    check(read(spark, "parquet", tmp_path / "log")[0], [(f"u{key}", "i", key, None) for key in keys], NO_LABEL)


@pytest.mark.parametrize(("number", "largest"), [("uint32", 2**32 - 1), ("uint64", 2**64 - 1), ("int64", -(2**63))])
def test_numeric_parquet_keys_lose_no_digit(spark, tmp_path, number, largest):
    columns = {"user": pa.array([largest], number), "item": pa.array([7], number), "domain": ["d"]}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    check(read(spark, "parquet", tmp_path / "log.parquet")[0], [(str(largest), "7", "d", None)], NO_LABEL)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (
            {"item": pa.array([2], pa.int64())},
            r'column "item" is "int64 item" in file .*/b.parquet, but "int32 item" in .*/a.parquet',
        ),
        ({"time": None}, r'column "time" is "none" in file .*/b.parquet, but "double time" in .*/a.parquet'),
        ({"history": None}, r'column "history" is "none" in file .*/b.parquet, but "group history \(LIST\) '),
    ],
    ids=["widened", "lacks a column", "lacks a feature"],
)
def test_parquet_file_with_different_columns_is_named(spark, tmp_path, later, message):
    columns = {"user": [1], "item": pa.array([1], pa.int32()), "domain": ["d"], "time": [0.5], "history": [[7]]}
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({**columns, "unused": [1]}), tmp_path / "log/a.parquet")
    others = {name: value for name, value in {**columns, **later}.items() if value is not None}
    pq.write_table(pa.table(others), tmp_path / "log/b.parquet")
    features = {"history": FeatureConfig(kind="sequence")}
    with pytest.raises(UserError, match=message):
        read(spark, "parquet", tmp_path / "log", columns=ColumnsConfig(time="time"), features=features)


@pytest.mark.parametrize("feature", ["deletionVectors", "columnMapping"])
def test_delta_log_is_read_with_any_table_feature(spark, tmp_path, feature):
    log = f"delta.`{tmp_path}/log`"
    spark.sql(
        f"CREATE TABLE {log} (user STRING, item STRING, domain STRING) USING delta TBLPROPERTIES "
        "('delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name')"
    )
    spark.sql(f"INSERT INTO {log} SELECT 'u' || id, 'i', 'd' FROM range(0, 4, 1, 1)")
    if feature == "columnMapping":
        spark.sql(f"ALTER TABLE {log} RENAME COLUMN item TO thing")
    else:
        spark.sql(f"DELETE FROM {log} WHERE user = 'u1'")
    item = "thing" if feature == "columnMapping" else "item"
    users = ["u0", "u1", "u2", "u3"] if feature == "columnMapping" else ["u0", "u2", "u3"]
    frame, _ = read(spark, "delta", tmp_path / "log", columns=ColumnsConfig(item=item))
    check(frame, [(user, "i", "d", None) for user in users], NO_LABEL)


def test_delta_log_is_read_at_its_newest_version(spark, tmp_path):
    path = str(tmp_path / "log")
    for user in ("old", "007"):
        frame = spark.createDataFrame([(user, "i", "b/c d")], "user STRING, item STRING, domain STRING")
        frame.write.format("delta").mode("overwrite").save(path)
    log, _ = read(spark, "delta", path)
    check(log, [("007", "i", "b/c d", None)], NO_LABEL)


def test_column_named_malformed_is_read_like_any_other(spark, tmp_path):
    path = str(tmp_path / "log.parquet")
    spark.createDataFrame(
        [("u", "i", "d", True)], "user STRING, item STRING, domain STRING, malformed BOOLEAN"
    ).write.parquet(path)
    (tmp_path / "log.csv").write_text("user,item,domain,malformed\nu,i,d,true\n")
    for source in ("parquet", "csv"):
        log, _ = read(spark, source, tmp_path / f"log.{source}")
        assert faults(log) == set()


@pytest.fixture
def movielens(tmp_path):
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,7,4.5,964982703\n1,8,3.0,5\n2,9,4.0,6\n2,7,4.0\n"
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n7,"Heat, The (1995)",Action|Crime\n8,Big,(no genres listed)\n'
    )
    return tmp_path


def test_movielens_domain_is_the_whole_genre_string(spark, movielens):
    log, positive_at = read(spark, "movielens", movielens)
    rows = [
        ("1", "7", "Action|Crime", "4.5", "964982703", None),
        ("1", "8", "(no genres listed)", "3.0", "5", None),
        ("2", "9", None, "4.0", "6", None),
        ("2", "7", "Action|Crime", "4.0", None, "2,7,4.0"),
    ]
    check(log, rows, RAW)
    assert positive_at == 4.0


def test_configured_threshold_overrides_that_of_movielens(spark, movielens):
    assert read(spark, "movielens", movielens, positive_at=3.0)[1] == 3.0


def test_movielens_rating_without_movie_and_broken_line_are_rejected(spark, movielens):
    assert faults(read(spark, "movielens", movielens)[0]) == {("domain", "null"), ("line", "malformed")}


@pytest.mark.parametrize("order", [1, -1])
def test_movielens_movie_listed_twice_has_one_domain(spark, movielens, order):
    lines = ["7,Heat,Crime", "7,Heat,Action"][::order]
    (movielens / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines, ""]))
    log, _ = read(spark, "movielens", movielens)
    assert {row["domain"] for row in log.where("item = 7").collect()} == {"Action"}


def write_reviews(path, *lines):
    with gzip.open(path, "wt") as file:
        file.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)


def review(user, item, stars):
    return {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": 1441324800, "x": [1]}


def test_amazon_domain_is_the_file_and_stars_are_the_event(spark, tmp_path):
    write_reviews(tmp_path / "Gift_Cards_5.json.gz", review("A1", "007", 5.0), review("A1", "007", 1.0))
    write_reviews(tmp_path / "All_Beauty_5.json.gz", review("A2", "B2", 3.0))
    log, positive_at = read(spark, "amazon", tmp_path)
    rows = [
        ("A1", "007", "Gift_Cards", "1441324800", "5.0", None),
        ("A1", "007", "Gift_Cards", "1441324800", "1.0", None),
        ("A2", "B2", "All_Beauty", "1441324800", "3.0", None),
    ]
    check(log, rows, "user STRING, item STRING, domain STRING, time STRING, event STRING, _malformed STRING")
    assert positive_at is None


def test_amazon_lines_without_json_are_malformed(spark, tmp_path):
    write_reviews(tmp_path / "A_5.json.gz", review("A1", "B1", 5.0), '{"reviewerID": "A2", \n', "oops\n")
    log, _ = read(spark, "amazon", tmp_path)
    assert [row["user"] for row in parse(log).where("reason IS NULL").collect()] == ["A1"]
    rejected = rejects(parse(log)).collect()
    assert [(row["column"], row["reason"]) for row in rejected] == [("line", "malformed")] * 2


def test_amazon_json_that_is_no_review_is_rejected(spark, tmp_path):
    write_reviews(tmp_path / "A_5.json.gz", review("A1", "B1", 5.0), "[]\n", "null\n", "{}\n", "\n")
    log, _ = read(spark, "amazon", tmp_path)
    assert log.count() == 4
    assert rejects(parse(log)).count() == 3


@pytest.mark.parametrize("category", ["Toys + Games", "50% off", "Bücher", "a%20b", "x.y"])
def test_amazon_domain_is_the_file_name_as_written(spark, tmp_path, category):
    write_reviews(tmp_path / f"{category}_5.json.gz", review("A1", "B1", 5.0))
    assert [row["domain"] for row in read(spark, "amazon", tmp_path)[0].collect()] == [category]


def test_amazon_fields_of_reviews_may_be_features(spark, tmp_path):
    write_reviews(tmp_path / "A_5.json.gz", review("A1", "B1", 5.0) | {"verified": True}, review("A2", "B1", 1.0))
    features = {"verified": FeatureConfig(kind="category", of="item")}
    log, _ = read(spark, "amazon", tmp_path, features=features)
    assert {(row["user"], row["verified"]) for row in log.collect()} == {("A1", "true"), ("A2", None)}
    features["verified"].column = "colour"
    with pytest.raises(UserError, match='has no column "colour": it has reviewerID, .*, verified, '):
        read(spark, "amazon", tmp_path, features=features)


def test_movielens_titles_and_genres_may_be_features(spark, movielens):
    features = {"genres": FeatureConfig(kind="list", of="item"), "title": FeatureConfig(kind="category", of="item")}
    log, _ = read(spark, "movielens", movielens, features=features)
    rows = {(row["item"], row["genres"], row["title"]) for row in log.where("_malformed IS NULL").collect()}
    assert rows == {("7", "Action|Crime", "Heat, The (1995)"), ("8", "(no genres listed)", "Big"), ("9", None, None)}


@pytest.fixture
def movielens_1m(tmp_path):
    files = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1m_1\tHeat, The (1995)\t5\t978300760\n1m_1\tBig (1988)\t3\t978300761\n1m_2\tHeat, The (1995)\t4\t978300762\n",
        "user": "user_id:token\tage:float\tgender:token\toccupation:float\tzip_code:token\n"
        "1m_1\t18\tF\t10\t02138\n1m_2\t56\tM\t16\t70072\n",
        "item": "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\n"
        "Heat, The (1995)\tHeat, The\t1995\tAction Crime\nBig (1988)\tBig\t1988\tComedy\n",
    }
    for name, text in files.items():
        (tmp_path / f"ml-1m.{name}").write_bytes(text.replace("\n", "\r\n").encode())  # as they come
    return tmp_path


@pytest.mark.parametrize(
    ("column", "domains"),
    [
        ("genre", ("Action Crime", "Comedy", "Action Crime")),
        ("gender", ("F", "F", "M")),
        ("occupation", ("10", "10", "16")),
        ("age_group", ("under 25", "under 25", "35 and over")),
    ],
)
def test_movielens_1m_domain_may_be_any_column(spark, movielens_1m, column, domains):
    log, positive_at = read(spark, "movielens_1m", movielens_1m, columns=ColumnsConfig(domain=column))
    rows = [
        ("1m_1", "Heat, The (1995)", domains[0], "5", "978300760", None),
        ("1m_1", "Big (1988)", domains[1], "3", "978300761", None),
        ("1m_2", "Heat, The (1995)", domains[2], "4", "978300762", None),
    ]
    check(log, rows, RAW)
    assert positive_at == 4.0


def test_movielens_1m_columns_may_be_features(spark, movielens_1m):
    names = {"zip": "zip_code", "first_genre": None, "year": "release_year"}
    features = {name: FeatureConfig(kind="category", column=column) for name, column in names.items()}
    log, _ = read(spark, "movielens_1m", movielens_1m, columns=ColumnsConfig(domain="gender"), features=features)
    rows = {tuple(row) for row in log.select("item", *names).collect()}
    assert ("Heat, The (1995)", "02138", "Action", "1995") in rows
    assert ("Big (1988)", "02138", "Comedy", "1988") in rows


def test_movielens_1m_error_lists_the_possible_domains(spark, movielens_1m):
    with pytest.raises(UserError, match=r'no column "domain": it has .*age, gender, .*genre, age_group, first_genre$'):
        read(spark, "movielens_1m", movielens_1m)
    (movielens_1m / "ml-1m.user").write_text("user_id:token\tgender:token\n")
    with pytest.raises(UserError, match=r'ml-1m.user has no column "age": it has user_id, gender$'):
        read(spark, "movielens_1m", movielens_1m)


@pytest.fixture
def theme_click(tmp_path):
    """Writes clicks of users and items with vectors; item 13 and user 9 have none, and that of item 14 is invalid."""
    (tmp_path / "theme_click_log.csv").write_text(
        "user_id,item_id,theme_id,leaf_cate_id\n7,12,3,50\n7,12,4,50\n8,12,3,50\n7,13,3,50\n9,12,3,50\n7,14,3,50\n,12,3,5\n"
    )
    (tmp_path / "user_embedding.csv").write_text("7,0.5 -1e-2\n8,1 2\n11,3 4\n")
    (tmp_path / "item_embedding.csv").write_text("item_id,item_emb\n12, 0.25 1 \n14,0.1 x\n15,0.5 nan\n12,0.25 1\n")
    return tmp_path


def test_theme_clicks_without_vectors_are_rejected(spark, theme_click):
    log, _ = read(spark, "theme_click", theme_click)
    parsed = parse(log)
    positives = {
        (row["user"], row["item"], row["domain"], row["label"]) for row in parsed.where("reason IS NULL").collect()
    }
    assert positives == {("7", "12", "3", 1.0), ("7", "12", "4", 1.0), ("8", "12", "3", 1.0)}
    rejected = [(json.loads(row["row"]), row["column"], row["reason"]) for row in rejects(parsed).collect()]
    assert sorted((column, reason) for _, column, reason in rejected) == [
        *[("item", "no vector")] * 2,
        *[("user", "no vector"), ("user", "null")],
    ]
    assert {"user": "9", "item": "12", "domain": "3"} in [row for row, *_ in rejected]


def test_theme_click_vectors_are_read_with_and_without_a_header(spark, theme_click):
    vectors = read_vectors(spark, DataConfig(source="theme_click", path=str(theme_click)))
    check(
        vectors["user"], [("7", [0.5, -0.01]), ("8", [1.0, 2.0]), ("11", [3.0, 4.0])], "key STRING, vector ARRAY<FLOAT>"
    )
    check(vectors["item"], [("12", [0.25, 1.0])], "key STRING, vector ARRAY<FLOAT>")


def test_sources_without_vectors_have_none(spark):
    assert read_vectors(spark, DataConfig(source="csv", path="log.csv")) == {}


@pytest.mark.parametrize("source", ["movielens", "movielens_1m", "amazon", "theme_click", "csv", "parquet", "delta"])
def test_missing_input_is_named(spark, tmp_path, source):
    with pytest.raises(UserError, match=r"input .*/nowhere\S* does not exist: set data\.path; .* how to get"):
        read(spark, source, tmp_path / "nowhere")


@pytest.mark.parametrize("source", ["movielens", "amazon", "csv"])
def test_path_may_be_a_url(spark, source):
    with pytest.raises(UserError, match=r"^input file:///nowhere"):
        read(spark, source, "file:///nowhere/")


@pytest.mark.parametrize("source", ["csv", "parquet", "delta"])
def test_missing_column_is_named_with_the_existing_columns(spark, tmp_path, source):
    path = tmp_path / "log"
    frame = spark.createDataFrame([("u", "i")], "user STRING, item STRING")
    frame.write.format(source).option("header", True).save(str(path))
    with pytest.raises(UserError, match=r'/log has no column "domain": it has user, item$'):
        read(spark, source, path)


@pytest.mark.parametrize(
    ("file", "header", "column"),
    [("ratings.csv", "userId,movieId,rating", "timestamp"), ("movies.csv", "movieId,title", "genres")],
)
def test_missing_movielens_column_is_named(spark, movielens, file, header, column):
    (movielens / file).write_text(f"{header}\n")
    with pytest.raises(UserError, match=f'/{file} has no column "{column}": it has {header.replace(",", ", ")}$'):
        read(spark, "movielens", movielens)


@pytest.mark.parametrize("source", ["parquet", "delta"])
@pytest.mark.parametrize("kind", ["file", "folder", "empty folder"])
def test_path_without_a_table_is_named(spark, tmp_path, source, kind):
    path = tmp_path / "log"
    if kind == "file":
        path.write_text("user,item,domain\nu,i,d\n")
    else:
        path.mkdir()
    if kind == "folder":
        (path / "log.csv").write_text("user,item,domain\nu,i,d\n")
    with pytest.raises(UserError, match=rf"input .*/log cannot be read as a {source} table: \w") as caught:
        read(spark, source, path)
    assert "\n" not in str(caught.value)


def test_unknown_source_is_refused(spark):
    with pytest.raises(UserError, match=r'data\.source "cvs" does not exist: choose one of movielens'):
        read(spark, "cvs", "log.csv")
