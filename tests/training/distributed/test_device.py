"""A GPU computes what the CPU computes. These tests are skipped without a GPU and need no fixtures of other tests:

python -m pytest --noconftest tests/training/distributed/test_device.py
"""

import pytest
import torch

from tests.support.reference import (
    LEARNED,
    SPECIFIC_SETTINGS,
    assert_close,
    named,
    random_rows,
    small_model,
)
from tests.support.some_ranks import CPU, two_rounds
from training.distributed.device import choose_device
from training.distributed.ranks import Ranks
from training.errors import UserError
from training.files import tensor_folder
from training.frameworks.specific.adapter import Adapter, Keep
from training.frameworks.specific.helper_rows import HelperRows
from training.models import MODELS
from training.parameters.forward import predict, predict_adapted
from training.parameters.shared import SharedParameters

GPU = torch.device("cuda")
TRAIN, VAL = random_rows(60, seed=1), random_rows(30, seed=2)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


def learned(device, framework="dn", name="mlp", sharded=()):
    return two_rounds(framework, TRAIN, Ranks(), sharded, name, device)


def on_cpu(tensors):
    return {name: value.cpu() for name, value in tensors.items()}


def assert_same(of_device):
    """Checks that a function returns the same tensors, by name, on the GPU as on the CPU."""
    assert_close(on_cpu(of_device(GPU)), on_cpu(of_device(CPU)))


@needs_gpu
@pytest.mark.parametrize("framework", LEARNED)
def test_frameworks_learn_on_a_gpu_what_they_learn_on_the_cpu(framework):
    assert_same(lambda device: named(learned(device, framework)[0]))


@needs_gpu
@pytest.mark.parametrize("name", MODELS)
def test_models_learn_and_score_on_a_gpu_as_on_the_cpu(name):
    def of_device(device):
        model, theta, _ = learned(device, name=name)
        return {**named(model), "logits": torch.from_numpy(predict(model, theta, VAL))}

    assert_same(of_device)


@needs_gpu
@pytest.mark.parametrize("framework", ["dn", "alternate"])
def test_sharded_tables_learn_on_a_gpu_as_on_the_cpu(framework):
    assert_same(lambda device: named(learned(device, framework, sharded=("user_id", "item_id"))[0]))


@needs_gpu
@pytest.mark.parametrize("rounds", [("dr", "dr"), ("finetune", "finetune"), ("subspace", "subspace")])
def test_domain_offsets_on_a_gpu_equal_those_on_the_cpu(rounds):
    def of_device(device):
        model = small_model().to(device)
        theta = SharedParameters.of(model)
        adapter = Adapter(model, theta, HelperRows.of(TRAIN, 5, 0), SPECIFIC_SETTINGS.replaced(rounds=rounds))
        values = sum(value.numel() for value in theta.dense.values())
        adapter.directions = torch.linspace(-1, 1, 2 * values, dtype=torch.float64, device=device).view(2, values)
        rounds_of = dict.fromkeys(range(4), len(rounds))
        adapted = {domain.domain_id: domain for domain in adapter.adapt(TRAIN, VAL, rounds_of, Keep.LAST)}
        specific = {domain_id: domain.offsets[len(rounds)] for domain_id, domain in adapted.items()}
        logits = predict_adapted(model, theta, VAL, specific, predict(model, theta, VAL))
        auc = {f"auc {domain_id}": torch.from_numpy(domain.val_auc) for domain_id, domain in adapted.items()}
        return {"logits": torch.from_numpy(logits), **auc}

    assert_same(of_device)


@needs_gpu
def test_tensors_learned_on_a_gpu_can_be_loaded_on_the_cpu(tmp_path):
    _, theta, moments = learned(GPU)
    saved = {**theta.trained(), **{f"moments.{name}": value for name, value in moments.state().items()}}
    tensor_folder.save(tmp_path / "learned", saved, {})
    loaded, _ = tensor_folder.load(tmp_path / "learned")
    assert all(value.device == CPU for value in loaded.values())
    assert_close(loaded, on_cpu(saved))


def test_more_ranks_than_gpus_is_a_user_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 ranks on this machine, which has 1 GPU"):
        choose_device("auto", local_rank=0, local_size=2)
