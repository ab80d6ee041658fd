"""Exported models: they answer what batch scoring answers, here and in an environment with the wheel alone."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.export_model import export_model
from pipelines.score import score
from tests.support.jobs import REPOSITORY, free_port
from training.config import Config
from training.errors import UserError
from training.serving.key_files import UNKNOWN, KeyIndex, slice_of, write_slice
from training.train import train

REQUESTS = [
    ("domain 0", "3", ["7", "1", "24", "1"]),
    ("domain 1", "3", ["2", "nothing"]),
    ("domain 2", "nobody", ["5", "6"]),
    ("domain 11", "39", ["0", "12", "3"]),
]


@dataclass(frozen=True)
class Exported:
    """An exported model with offsets of some domains, and the answers of batch scoring to REQUESTS."""

    config: Config
    path: str
    scored: pd.DataFrame


@pytest.fixture(scope="module")
def exported(spark, built, keep_rounds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    config = built.config(built.copy(folder), "framework.name=joint_dr", f"score.requests={folder}/requests")
    train(config)
    keep_rounds(config)
    dr_longtail(spark, config)
    rows = [(domain, user, item) for domain, user, items in REQUESTS for item in items]
    spark.createDataFrame(rows, "domain string, user string, item string").write.format("delta").save(
        config.score.requests
    )
    score(spark, config)
    scored = tables.read(spark, config.table("scores")).orderBy("domain_key", "rank").toPandas()
    return Exported(config, export_model(spark, config)["model"], scored)


@contextmanager
def serving(model, mlflow="mlflow", **options):
    """Runs `mlflow models serve` inside the block, which gets its address."""
    port = free_port()
    arguments = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [mlflow, "models", "serve", "--model-uri", model, *arguments]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **streams, **options) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(480):  # a busy machine takes minutes to import all
                if answers(f"{address}/ping") or process.poll() is not None:
                    break
                time.sleep(0.5)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def server(exported):
    """The address of `mlflow models serve`."""
    with serving(exported.path) as address:
        yield address


@pytest.fixture(scope="module")
def wheel_only(wheel, tmp_path_factory):
    """The folder of a virtual environment in which only the wheel with its extra `serve` was installed."""
    folder = tmp_path_factory.mktemp("wheel_only") / "venv"
    subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", str(folder)], check=True, timeout=60)
    # in the locked versions, which uv has in its cache since `make setup`
    install = ["uv", "pip", "install", "--quiet", "--python", str(folder), "--constraints", "requirements.txt"]
    done = subprocess.run(
        [*install, f"mamdr[serve] @ {wheel.as_uri()}"], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    if any(words in done.stderr for words in ("error sending request", "Failed to fetch", "dns error")):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


def ask(address, body):
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def as_json(*requests, **params):
    records = [dict(zip(("domain", "user", "items"), request, strict=True)) for request in requests]
    return json.dumps({"dataframe_records": records, "params": params}).encode()


def assert_as_scored(answers, scored):
    for (domain, user, _), answer in zip(REQUESTS, answers, strict=True):
        expected = scored[(scored.domain_key == domain) & (scored.user_key == user)]
        assert answer["items"] == expected.item_key.tolist()
        np.testing.assert_allclose(answer["scores"], expected.score, atol=1e-6)
        assert answer["known_items"] == expected.known_item.tolist()
        assert {answer["known_user"]} == set(expected.known_user)
        assert {answer["specific"]} == set(expected.specific)


def test_loaded_model_answers_what_batch_scoring_answers(exported):
    model = mlflow.pyfunc.load_model(exported.path)
    asked = pd.DataFrame(REQUESTS, columns=["domain", "user", "items"])
    answers = model.predict(asked).to_dict("records")
    assert_as_scored(answers, exported.scored)
    assert {answer["specific"] for answer in answers} == {True, False}
    best = model.predict(asked, params={"top_k": 1}).to_dict("records")
    assert [answer["items"] for answer in best] == [answer["items"][:1] for answer in answers]


def test_root_that_was_moved_is_given_when_the_model_is_loaded(exported, tmp_path):
    shutil.copytree(exported.config.root, tmp_path / "moved")
    settings = {"root": str(tmp_path / "moved"), "cached_domains": 1}
    loaded = mlflow.pyfunc.load_model(exported.path, model_config=settings)
    asked = pd.DataFrame(REQUESTS, columns=["domain", "user", "items"])
    assert_as_scored(loaded.predict(asked).to_dict("records"), exported.scored)
    [model] = loaded.unwrap_python_model()._ranker._models.values()
    assert model._specific.cache_info().currsize == 1


def test_server_survives_requests_that_it_cannot_answer(exported, server):
    status, answer = ask(server, as_json(*REQUESTS))
    assert status == 200
    assert_as_scored(answer["predictions"], exported.scored)
    wrong = {
        as_json(("domain 99", "3", ["1"])): 'domain "domain 99" is not in the model: add it',
        as_json(("domain 0", "3", [])): 'the request of user "3" in domain "domain 0" has no items: name at least one',
        as_json(("domain 0", "3", ["1"]), top_k=-1): "top_k -1 is less than 0: use 0 for all items",
        as_json(("domain 0", 3, ["1"])): "",
        as_json(("domain 0", None, ["1"])): "",
        as_json(("domain 0", "3", "1")): "",
        b'{"dataframe_records": [{"domain": "domain 0", "items": ["1"]}]}': "user",
        b'{"dataframe_records": [{"domain"': "",
        b"[]": "",
    }
    for body, message in wrong.items():
        status, answer = ask(server, body)
        assert status == 400, (body, answer)
        assert message in json.dumps(answer, ensure_ascii=False).replace('\\"', '"'), (body, answer)
    assert ask(server, as_json(REQUESTS[0]))[0] == 200


def test_wheel_alone_serves_the_exported_model(exported, wheel_only, tmp_path):
    """Without the repository, Java, Horovod, Spark and Petastorm."""
    shutil.copytree(exported.path, tmp_path / "model")
    (tmp_path / "bash").symlink_to(shutil.which("bash"))  # which MLflow starts the server with
    alone = {"cwd": tmp_path, "env": {"PATH": f"{wheel_only / 'bin'}:{tmp_path}", "HOME": str(tmp_path)}}
    with serving("model", str(wheel_only / "bin" / "mlflow"), **alone) as address:
        status, answer = ask(address, as_json(*REQUESTS))
    assert status == 200
    assert_as_scored(answer["predictions"], exported.scored)
    names = ("horovod", "pyspark", "petastorm")
    script = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    python = [str(wheel_only / "bin" / "python"), "-c"]
    assert subprocess.check_output([*python, script], **alone, text=True) == "[]\n"


def test_exported_model_carries_its_code_and_requirements(exported, wheel_only, tmp_path):
    requirements = Path(exported.path, "requirements.txt").read_text().split()
    assert not [line for line in requirements if line.startswith("mamdr")]
    assert all("==" in line for line in requirements)
    python = str(wheel_only / "bin" / "python")
    subprocess.run(["uv", "pip", "uninstall", "--quiet", "--python", python, "mamdr"], check=True, timeout=60)
    script = f"""
import mlflow, pandas
model = mlflow.pyfunc.load_model({exported.path!r})
asked = pandas.DataFrame({REQUESTS!r}, columns=["domain", "user", "items"])
print(model.predict(asked).to_json(orient="records"))
"""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    answered = subprocess.check_output([python, "-c", script], cwd=tmp_path, env=environment, text=True, timeout=300)
    assert_as_scored(json.loads(answered.splitlines()[-1]), exported.scored)


def test_model_that_was_trained_further_is_not_served(exported, tmp_path):
    shutil.copytree(exported.config.root, tmp_path / "moved")
    [manifest] = (tmp_path / "moved" / "models").glob("*/theta/state.json")
    state = json.loads(manifest.read_text())
    state["progress"]["best_epoch"] = 7
    manifest.write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"has been trained further \(now epoch-7\): export it again"):
        mlflow.pyfunc.load_model(exported.path, model_config={"root": str(tmp_path / "moved")})


def test_keys_of_every_slice_are_found_and_others_are_unknown(tmp_path):
    keys = [f"k{number}" for number in range(500)] + ["", "ü/🙂", "a" * 10_000]
    for number in range(7):
        ids = [index for index, key in enumerate(keys) if slice_of(key, 7) == number]
        table = {"key": [keys[index] for index in ids], "id": ids, "tags": [[index, 0] for index in ids]}
        write_slice(pa.table(table), tmp_path, number, 7)
    columns = KeyIndex(tmp_path).look_up([*keys, "k500"])
    assert columns["id"].tolist() == [*range(len(keys)), UNKNOWN]
    assert columns["tags"].tolist() == [*([index, 0] for index in range(len(keys))), [0, 0]]
