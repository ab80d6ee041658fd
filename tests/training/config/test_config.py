import json
from pathlib import Path

import pytest

from training.command import exit_with_user_errors
from training.config import Config, load_config, parse_arguments
from training.config.frameworks import SHARED, SPECIFIC, framework_name
from training.errors import UserError
from training.redaction import hide_secrets

REPOSITORY = Path(__file__).parents[3]
MINIMAL = "root: runs/x\ndata: {source: csv, path: log.csv}\n"


@pytest.fixture
def load(tmp_path):
    """A function (*settings, text=YAML) -> Config."""

    def load_text(*settings, text=MINIMAL):
        file = tmp_path / "config.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(str(file), settings)

    return load_text


def test_defaults_fill_what_the_file_leaves_out(load):
    config = load()
    assert isinstance(config, Config)
    assert (config.root, config.seed, config.data.path) == ("runs/x", 0, "log.csv")
    assert config.data.split == [0.6, 0.2, 0.2]
    assert config.data.columns.label is None


def test_command_line_wins_over_the_file_and_the_last_setting_over_the_first(load):
    config = load("training.epochs=3", "training.epochs=4", text=MINIMAL + "training: {epochs: 2, patience: 9}\n")
    assert (config.training.epochs, config.training.patience) == (4, 9)


def test_a_config_runs_no_code(load, tmp_path):
    with pytest.raises(UserError, match="is not YAML"):
        load(text=f"root: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]\n")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("framework.inner_lr=1e-3", "framework", "inner_lr", 0.001),
        ("training.pack=false", "training", "pack", False),
        ("model.hidden=[64, 32]", "model", "hidden", [64, 32]),
        ("data.columns.label=null", "data", "columns", None),
        ("data.ctr_ratio=0.32", "data", "ctr_ratio", 0.32),
        ("data.positive_at=4", "data", "positive_at", 4.0),
        ("data.path=s3a://bucket/a=b?c", "data", "path", "s3a://bucket/a=b?c"),
        ("data.path=/a path/[1]", "data", "path", "/a path/[1]"),
        ("data.split=[0.7, 0.2, 0.1]", "data", "split", [0.7, 0.2, 0.1]),
        ("data.split=[1, 0, 0]", "data", "split", [1.0, 0.0, 0.0]),
        ("data.head_rows=0", "data", "head_rows", 0),
    ],
)
def test_value_gets_the_type_of_its_key(load, setting, section, key, value):
    found = getattr(getattr(load(setting), section), key)
    assert (found.label if key == "columns" else found) == value


def test_domain_keys_stay_as_they_are_written(load):
    keys = ["007", "1_000", "1.0", "on", "b/c d", "2020-01-01"]
    assert load(f"data.domains=[{', '.join(keys)}]").data.domains == keys
    text = "root: r\ndata:\n  source: csv\n  path: 007\n  domains:\n" + "".join(f"  - {key}\n" for key in keys)
    config = load(text=text)
    assert config.data.domains == keys
    assert config.data.path == "007"


def test_tables_lie_under_the_root_be_it_a_folder_or_a_url(load, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load().table("samples") == str(tmp_path / "runs" / "x" / "tables" / "samples")
    assert load("root=/a path/").table("items") == "/a path/tables/items"
    assert load("root=s3a://bucket/runs/").table("items") == "s3a://bucket/runs/tables/items"


@pytest.mark.parametrize("shared", [*SHARED, "my_package.my_file:learn"])
@pytest.mark.parametrize("specific", SPECIFIC)
def test_preset_sets_both_parts_and_the_parts_give_the_preset(load, shared, specific):
    preset = load(f"framework.name={framework_name(shared, specific)}").framework
    assert (preset.shared, preset.specific) == (shared, specific)
    assert load(f"framework.name={shared}_{specific}").framework == preset
    parts = load(f"framework.shared={preset.shared}", f"framework.specific={preset.specific}").framework
    assert parts == preset


def test_framework_is_mamdr_unless_told_otherwise(load):
    framework = load().framework
    assert (framework.name, framework.shared, framework.specific) == ("mamdr", "dn", "dr")


def test_explicit_part_wins_over_the_preset(load):
    framework = load("framework.name=mamdr", "framework.shared=joint").framework
    assert (framework.name, framework.shared, framework.specific) == ("joint_dr", "joint", "dr")


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("training.epoch=3", "training.epochs"),
        ("data.sourc=csv", "data.source"),
        ("training.batchsize=1", "training.batch_size"),
        ("Seed=1", "seed"),
        ("model.hidden.0=7", "model.hidden"),
        ("data.columns.user_id=u", "data.columns.user"),
    ],
)
def test_unknown_key_names_the_nearest_and_where_it_stands(load, setting, nearest):
    key = setting.split("=")[0]
    with pytest.raises(UserError, match=f'"{key}" \\(command line\\) does not exist: did you mean "{nearest}"'):
        load(setting)


def test_unknown_key_in_the_file_names_the_file(load, tmp_path):
    with pytest.raises(UserError, match=r'"trainng" \(.*/config.yaml\) does not exist: did you mean "training"'):
        load(text=MINIMAL + "trainng: 1\n")
    with pytest.raises(UserError, match=r'"data.domains.a" \(.*/config.yaml\) does not exist'):
        load(text="root: r\ndata: {domains: {a: 1}}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r'"data.path" has no value: set it in .*config.yaml or as data.path=VALUE'),
        ("data: {source: csv, path: x}\n", r'"root" has no value'),
        ("root: r\ndata: {path: x}\n", r'"data.source" has no value'),
        ("[1, 2]\n", r"must hold keys and values"),
        ("words\n", r"must hold keys and values"),
        ("root: [r\n", r"config .*config.yaml is not YAML"),
        (b"root: \xff\xfe\n", r"config .*config.yaml is not YAML"),
        ("root: r\ndata:\n", r'"data" has a value of the wrong kind'),
        ("root: {a: b}\n", r'"root.a" .* does not exist'),
    ],
    ids=["empty", "no root", "no source", "list", "text", "no YAML", "no text", "empty section", "mapping"],
)
def test_file_that_cannot_be_used_is_a_mistake_in_one_line(load, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load(text=text)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named():
    with pytest.raises(UserError, match=r"config nowhere.yaml cannot be read \(No such file or directory\): give"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    "setting",
    [
        *("seed=x", "seed=1.5", "seed=", "root=null", "data=5", "data.path=[a]", "data.path={a: b}"),
        *(
            "training.epochs=true",
            "training.pack=maybe",
            "data.ctr_ratio=half",
            "data.domains=a",
            "model.hidden=[a]",
        ),
        *("data.domains=[null]", "root=${nothing}"),
    ],
)
def test_value_of_the_wrong_kind_names_its_key(load, setting):
    key = setting.split("=")[0]
    with pytest.raises(UserError, match=rf'"{key}(\[0\])?" has a value of the wrong kind: \w') as caught:
        load(setting)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("data.ctr_ratio=0", "above 0 and at most 1"),
        ("data.ctr_ratio=1.1", "above 0 and at most 1"),
        ("data.ctr_range=[0.2]", "two ratios"),
        ("data.ctr_range=[0.5, 0.2]", "two ratios"),
        ("data.ctr_range=[0, 0.2]", "two ratios"),
        ("data.ctr_range=[0.5, 1.2]", "two ratios"),
        ("data.ctr_range=[nan, 0.2]", "two ratios"),
        ("data.split=[0.6, 0.4]", "three shares"),
        ("data.split=[0.6, 0.2, 0.1]", "three shares"),
        ("data.split=[0, 0.5, 0.5]", "three shares"),
        ("data.split=[1.2, -0.1, -0.1]", "three shares"),
        ("data.bucket_rows=0", "at least 1"),
        ("data.head_rows=-1", "at least 0"),
        ("data.largest_domains=0", "at least 1"),
        ("data.user_share=0", "above 0 and at most 1"),
        ("data.user_share=1.5", "above 0 and at most 1"),
        ("data.columns.split=split", "absent where data.columns.label is: negatives that are drawn"),
        ("seed=9223372036854775808", "an integer from 0 to 9223372036854775807"),
        ("seed=-1", "an integer from 0 to 9223372036854775807"),
        ("model.embedding_dim=0", "at least 1"),
        ("model.hidden=[64, 0]", "a list of sizes"),
        ("model.tower=[0]", "a list of sizes"),
        ("model.experts=0", "at least 1"),
        ("model.specific_experts=0", "at least 1"),
        ("model.levels=0", "at least 1"),
        ("model.heads=0", "at least 1"),
        ("model.dropout=1", "at least 0 and below 1"),
        ("model.dropout=-0.1", "at least 0 and below 1"),
        ("training.epochs=0", "at least 1"),
        ("training.batch_size=0", "at least 1"),
        ("training.rounds_per_epoch=0", "at least 1"),
        ("training.patience=0", "at least 1"),
        ("training.device=gpu", "auto, cpu or cuda"),
        ("framework.specific_dtype=float64", "float32 or float16"),
        ("framework.helpers=0", "at least 1"),
        ("framework.helper_rows=0", "at least 1"),
        ("framework.helper_domains=1", "at least 2"),
        ("framework.dr_rounds=0", "at least 1"),
        ("framework.dr_batch_size=0", "at least 1"),
        ("framework.stop_group=0", "at least 1"),
        ("framework.inner_lr=0", "above 0"),
        ("framework.outer_lr=-1", "above 0"),
        ("framework.dr_lr=0", "above 0"),
        ("framework.dr_inner_lr=0", "above 0"),
    ],
)
def test_value_out_of_range_names_its_key_and_the_rule(load, setting, rule):
    key = setting.split("=")[0]
    with pytest.raises(UserError, match=f'config key "{key}" must be .*{rule}'):
        load(setting)


def test_interleaving_is_for_mamdr_alone(load):
    assert load("framework.interleave=true").framework.interleave
    with pytest.raises(UserError, match=r"framework.interleave.* must be false unless framework.name is mamdr"):
        load("framework.interleave=true", "framework.name=dn")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["framework.name=mamdar"], '"mamdar" does not exist: choose one of none, joint, .*mamdr'),
        (["framework.shared=dnn"], 'framework.shared "dnn" does not exist: choose one of none, joint'),
        (["framework.specific=drr"], 'framework.specific "drr" does not exist: choose one of none, finetune'),
    ],
)
def test_unknown_framework_names_the_known_ones(load, settings, message):
    with pytest.raises(UserError, match=message):
        load(*settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("age", {}, r'"data.features.age.kind" has no value'),
        ("age", {"kind": "number"}, r'"data.features.age.kind" must be one of category, dense, list, sequence$'),
        ("age", {"kind": "dense", "of": "domain"}, r'"data.features.age.of" must be one of row, user, item$'),
        ("age", {"kind": "list", "length": 0}, r'"data.features.age.length" must be at least 1$'),
        (
            "age",
            {"kind": "list", "separator": ""},
            r'"data.features.age.separator" must be at least one character long',
        ),
        (
            "age",
            {"kind": "dense", "colum": "a"},
            r'"data.features.age.colum" .* did you mean "data.features.age.column"',
        ),
        ("Age", {"kind": "dense"}, r'"data.features.Age": name the feature with lower-case letters'),
        (
            "bucket",
            {"kind": "dense"},
            r'"data.features.bucket": the tables have a column named bucket',
        ),
        ("tags_length", {"kind": "dense"}, r'"data.features.tags_length": the tables have a column'),
    ],
)
def test_feature_that_cannot_be_is_refused(load, name, settings, message):
    features = {name: settings, "tags": {"kind": "list"}}
    text = MINIMAL.replace("log.csv}", f"log.csv, features: {json.dumps(features)}}}")
    with pytest.raises(UserError, match=message):
        load(text=text)


def test_setting_without_a_value_is_refused(load):
    with pytest.raises(UserError, match='argument "seed" is not of the form key=value'):
        load("seed")


def test_arguments_are_a_file_and_any_number_of_settings():
    file = str(REPOSITORY / "conf" / "ml_latest_small.yaml")
    config = parse_arguments(["--config", file, "seed=7", "training.epochs=3"])
    assert (config.data.source, config.seed, config.training.epochs) == ("movielens", 7, 3)


def test_arguments_without_a_file_end_with_code_2_and_the_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(["seed=7"])
    assert stopped.value.code == 2
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted((REPOSITORY / "conf").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_in_conf_is_valid(file):
    assert load_config(str(file)).root


def test_user_error_is_one_line_on_stderr_and_code_2(capsys):
    def main():
        raise UserError("what, where: what to do")

    with pytest.raises(SystemExit) as stopped:
        exit_with_user_errors(main)
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", "error: what, where: what to do\n")


def test_other_errors_keep_their_trace():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_with_user_errors(main)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("s3a://someone:pw1@bucket/log", "s3a://***@bucket/log"),
        ("abfss://c@account.dfs.core.windows.net/log?sv=1&sig=pw1", None),
        ("https://host/log?X-Amz-Signature=pw1&a=1", "https://host/log?***&a=1"),
        ("jdbc:sqlserver://host;user=a;password=pw1", "jdbc:sqlserver://host;user=a;***"),
    ],
)
def test_a_secret_in_a_setting_is_refused_and_not_shown(load, value, shown, capsys):
    with pytest.raises(UserError, match='config key "data.path" holds a password or token') as refused:
        load(f"data.path={value}")
    assert "pw1" not in str(refused.value)
    assert "pw1" not in hide_secrets(value)
    assert shown in (None, hide_secrets(value))

    def fail():
        raise UserError(f"input {value} is not there")

    with pytest.raises(SystemExit):
        exit_with_user_errors(fail)
    assert "pw1" not in capsys.readouterr().err


@pytest.mark.parametrize("path", ["abfss://container@account.dfs.core.windows.net/log", "s3a://bucket/a:b@c", "d:/x@y"])
def test_names_in_urls_are_no_secrets(load, path):
    assert load(f"data.path={path}").data.path == path
