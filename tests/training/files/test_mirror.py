"""A root in object storage: the trainer reads tables from it, and stores checkpoints and models in it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.store import from_url

from pipelines.evaluate import evaluate
from tests.support.jobs import free_port, horovodrun
from training.artifacts.model_names import model_path, shared_version
from training.data.delta_files import read_columns
from training.data.snapshot import take_snapshot
from training.errors import UserError
from training.files import object_store, tensor_folder
from training.files.mirror import Mirror
from training.files.object_store import fetch
from training.files.paths import local_path
from training.train import train

BUCKET = "s3a://bucket"


@pytest.fixture(scope="module")
def server():
    """Returns the address of an S3-compatible server with a bucket.

    The server is another process, because deltalake holds the GIL while it waits for answers.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            try:
                urlopen(Request(f"{address}/bucket", method="PUT"))
                break
            except URLError:
                time.sleep(0.2)
        yield address
        process.terminate()


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """Returns the root URL of a test, and sets its credentials and its folder for local copies."""
    settings = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "MAMDR_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    object_store._store.cache_clear()
    return f"{BUCKET}/{tmp_path.name}"


def put_tables(built, root):
    for path in (built.root / "tables").rglob("*"):
        if path.is_file():
            url = f"{root}/tables/{path.relative_to(built.root / 'tables')}"
            obstore.put(*object_store.open_url(url), path)


def names_in(root, prefix):
    store = from_url(root)
    return {entry["path"] for page in store.list(prefix) for entry in page}


def two_machines(built, settings, caches):
    """Trains on two ranks that seem to be on two machines, each with its own local copies."""
    with_cache = f"MAMDR_CACHE={caches}/$HOROVOD_RANK exec {sys.executable} training/train.py"
    command = f"{with_cache} --config {built.config_path} {' '.join(settings)}"
    done = horovodrun("-np", "2", "-H", "localhost:1,127.0.0.1:1", "bash", "-c", command)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1].partition(":")[2]), done.stderr


def test_two_new_machines_resume_the_run_of_two_others(built, bucket, tmp_path):
    put_tables(built, bucket)
    common = ["framework.name=mamdr", "training.sharded=[user_id]", "training.cache_rows=45"]
    settings = [*common, f"root={bucket}"]
    two_machines(built, [*settings, "training.epochs=1"], tmp_path / "first")
    resumed, stderr = two_machines(built, [*settings, "training.epochs=2"], tmp_path / "second")
    assert "resuming after epoch 1" in stderr
    local = [*common, built.copy(tmp_path)]
    uninterrupted, _ = two_machines(built, local, tmp_path / "unused")
    assert resumed["val_mean_domain_auc"] == uninterrupted["val_mean_domain_auc"]

    config = built.config(*settings)
    domains = take_snapshot(config).domains
    written = read_columns(config.table("domain_parameters"), ["domain_id"])["domain_id"]
    assert sorted(set(written)) == domains.domain_id[domains.head].tolist()
    folder = model_path(config, shared_version(config, take_snapshot(config).version))
    Mirror(config.root, folder).pull()
    expected, _ = tensor_folder.load(Path(uninterrupted["model_path"]) / "theta")
    downloaded, _ = tensor_folder.load(folder / "theta")
    assert {name: value.tolist() for name, value in downloaded.items()} == {
        name: value.tolist() for name, value in expected.items()
    }
    assert {path.name for path in (folder / "shards").iterdir()} == {"0of2.safetensors", "1of2.safetensors"}


def test_a_finished_model_in_a_bucket_is_not_trained_again(built, bucket, tmp_path, monkeypatch):
    put_tables(built, bucket)
    config = built.config(f"root={bucket}", "framework.name=joint")
    first = train(config)
    monkeypatch.setenv("MAMDR_CACHE", str(tmp_path / "another"))
    again = train(config)
    assert (again["epochs"], again["val_mean_domain_auc"]) == (first["epochs"], first["val_mean_domain_auc"])
    assert again["samples"] == first["samples"]


def test_a_missing_file_in_a_bucket_is_named_before_training(built, bucket):
    put_tables(built, bucket)
    config = built.config(f"root={bucket}", "framework.name=joint")
    lost = take_snapshot(config).files[0].path
    obstore.delete(*object_store.open_url(lost))
    with pytest.raises(UserError, match=f"lacks 1 of .* for example {lost}"):
        train(config)


def test_a_reader_sees_one_state_and_unused_blobs_are_deleted(bucket, tmp_path):
    folder = local_path(bucket) / "models" / "a"
    mirror, other = Mirror(bucket, folder), Mirror(bucket, folder)
    (folder / "epoch-1").mkdir(parents=True)
    (folder / "epoch-1" / "state").write_text("1")
    (folder / "same").write_text("1")
    mirror.publish()
    (folder / "epoch-1" / "state").unlink()
    (folder / "epoch-2").mkdir()
    (folder / "epoch-2" / "state").write_text("2")
    (folder / ".half-written").write_text("ha")
    mirror.publish()
    (folder / "epoch-2" / "state").write_text("not published")
    (folder / "left over").write_text("1")
    other.pull()
    contents = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert contents == {"same": "1", "epoch-2/state": "2", ".half-written": "ha"}
    assert len(names_in(f"{bucket}/models/a", "blobs")) == 2
    (folder / "same").unlink()
    mirror.publish()
    assert len(names_in(f"{bucket}/models/a", "blobs")) == 1


def test_a_damaged_blob_is_an_error(bucket):
    folder = local_path(bucket) / "models" / "a"
    folder.mkdir(parents=True)
    (folder / "tensors").write_text("whole")
    Mirror(bucket, folder).publish()
    [blob] = names_in(f"{bucket}/models/a", "blobs")
    obstore.put(*object_store.open_url(f"{bucket}/models/a/{blob}"), b"who")
    (folder / "tensors").unlink()
    with pytest.raises(RuntimeError, match="its content does not match its name"):
        Mirror(bucket, folder).pull()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/a b/50%25", "/data/a b/50%25"),
        ("file:///data/a%20b", "/data/a b"),
        ("s3a://bucket/root/x", "/cache/s3a/bucket/root/x"),
    ],
)
def test_local_paths_of_folders_and_urls(monkeypatch, path, expected):
    monkeypatch.setenv("MAMDR_CACHE", "/cache")
    assert local_path(path) == Path(expected)


def test_a_root_may_be_a_file_url(spark, built, tmp_path):
    built.copy(tmp_path)
    config = built.config(f"root=file://{tmp_path}/root", "framework.name=joint")
    assert train(config)["model_path"].startswith(f"{tmp_path}/root/models")
    assert evaluate(spark, config)["models"]["joint"]["rows"] > 0


def test_a_local_root_needs_no_copy(tmp_path):
    (tmp_path / "models").mkdir()
    Mirror(str(tmp_path), tmp_path / "models").pull()
    Mirror(str(tmp_path), tmp_path / "models").publish()
    assert fetch(str(tmp_path / "models")) == tmp_path / "models"
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
