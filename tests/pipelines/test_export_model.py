"""The model that answers online: what batch scoring answers, by keys, and a message where it cannot."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.dr_longtail import dr_longtail
from pipelines.engine import tables
from pipelines.export_model import export_model
from pipelines.score import score
from tests.support.jobs import free_port
from training.errors import UserError
from training.serving.key_files import UNKNOWN, KeyIndex, slice_of, write_slice
from training.train import train

REQUESTS = [
    ("domain 0", "3", ["7", "1", "24", "1"]),
    ("domain 1", "3", ["2", "nothing"]),
    ("domain 2", "nobody", ["5", "6"]),
    ("domain 11", "39", ["0", "12", "3"]),
]


@pytest.fixture(scope="module")
def exported(spark, built, keep_rounds, tmp_path_factory):
    """A model with theta^i of some domains: its config, what was exported, and what batch scoring says."""
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
    return config, export_model(spark, config)["model"], scored


@pytest.fixture(scope="module")
def server(exported):
    """The address of `mlflow models serve`."""
    port = free_port()
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = ["mlflow", "models", "serve", "--model-uri", exported[1], *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(480):  # a busy machine takes minutes to import all
            if answers(f"{address}/ping"):
                break
            time.sleep(0.5)
        yield address
        subprocess.run(["pkill", "-P", str(process.pid)], check=False)
        process.terminate()


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
        own = scored[(scored.domain_key == domain) & (scored.user_key == user)]
        assert answer["items"] == own.item_key.tolist()
        np.testing.assert_allclose(answer["scores"], own.score, atol=1e-6)
        assert answer["known_items"] == own.known_item.tolist()
        assert {answer["known_user"]} == set(own.known_user)
        assert {answer["specific"]} == set(own.specific)


def test_the_loaded_model_answers_what_batch_scoring_does(exported):
    _, path, scored = exported
    asked = pd.DataFrame(REQUESTS, columns=["domain", "user", "items"])
    answers = mlflow.pyfunc.load_model(path).predict(asked).to_dict("records")
    assert_as_scored(answers, scored)
    assert {answer["specific"] for answer in answers} == {True, False}
    best = mlflow.pyfunc.load_model(path).predict(asked, params={"top_k": 1}).to_dict("records")
    assert [one["items"] for one in best] == [one["items"][:1] for one in answers]


def test_a_root_that_was_moved_is_named_when_the_model_is_loaded(exported, tmp_path):
    config, path, scored = exported
    shutil.copytree(config.root, tmp_path / "moved")
    loaded = mlflow.pyfunc.load_model(path, model_config={"root": str(tmp_path / "moved"), "cached_domains": 1})
    asked = pd.DataFrame(REQUESTS, columns=["domain", "user", "items"])
    assert_as_scored(loaded.predict(asked).to_dict("records"), scored)
    [model] = loaded.unwrap_python_model()._ranker._models.values()
    assert model._specific.cache_info().currsize == 1


def test_the_server_answers_and_lives_on_after_requests_that_it_cannot_answer(exported, server):
    status, answer = ask(server, as_json(*REQUESTS))
    assert status == 200
    assert_as_scored(answer["predictions"], exported[2])
    wrong = {
        as_json(("domain 99", "3", ["1"])): 'domain "domain 99" is not known to the model',
        as_json(("domain 0", "3", [])): 'the request of user "3" in domain "domain 0" has no items',
        as_json(("domain 0", "3", ["1"]), top_k=-1): "top_k -1 is less than 0",
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


def test_a_model_that_was_trained_on_is_not_served_under_its_old_name(exported, tmp_path):
    config, path, _ = exported
    shutil.copytree(config.root, tmp_path / "moved")
    [manifest] = (tmp_path / "moved" / "models").glob("*/theta/state.json")
    state = json.loads(manifest.read_text())
    state["progress"]["best_epoch"] = 7
    manifest.write_text(json.dumps(state))
    with pytest.raises(UserError, match="is at epoch-7 now, it was trained on: export what is served again"):
        mlflow.pyfunc.load_model(path, model_config={"root": str(tmp_path / "moved")})


def test_keys_are_found_in_any_slice_and_others_are_not(tmp_path):
    keys = [f"k{number}" for number in range(500)] + ["", "ü/🙂", "a" * 10_000]
    for number in range(7):
        own = [place for place, key in enumerate(keys) if slice_of(key, 7) == number]
        table = {"key": [keys[place] for place in own], "id": own, "tags": [[place, 0] for place in own]}
        write_slice(pa.table(table), tmp_path, number, 7)
    found = KeyIndex(tmp_path).look_up([*keys, "k500"])
    assert found["id"].tolist() == [*range(len(keys)), UNKNOWN]
    assert found["tags"].tolist() == [*([place, 0] for place in range(len(keys))), [0, 0]]
