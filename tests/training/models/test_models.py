"""Backbones against their formulas in NumPy and parameter counts by hand, in the three ways that they are called."""

import re

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import batch_norm

from tests.support.reference import SCHEMA, SIZES, small_config, small_model
from training.config import ModelConfig
from training.data.id_numbering import renumber_ids
from training.data.patch import Batch
from training.data.schema import Feature, Schema
from training.errors import UserError
from training.frameworks.common.inner_step import InnerOptimizer
from training.models import MODELS, build_model
from training.models.domain_layers import Blocks, ByDomain, DomainLinear
from training.models.partitioned_norm import EPSILON, PartitionedNorm
from training.parameters.domain_offsets import OffsetGroup
from training.parameters.forward import PREDICT_ROWS, group_logits
from training.parameters.shared import SharedParameters

FEATURES = {
    "user_id": torch.tensor([0, 3, 3, 6, 1]),
    "item_id": torch.tensor([5, 1, 0, 1, 2]),
    "domain_id": torch.tensor([2, 0, 2, 2, 3]),
}
DOMAINS = FEATURES["domain_id"].numpy()
BY_DOMAIN = ("shared_bottom", "mmoe", "cgc", "ple", "star")
FURTHER = (
    Feature("genre", "category", "genre", 5),
    Feature("price", "dense", None),
    Feature("tags", "list", "tags", 6, length=3),
    Feature("history", "sequence", "item_id", SIZES["item_id"], length=4),
)


def random_model(name, **settings):
    """Returns a backbone in float64 and eval mode, with values that differ from its initial ones."""
    model = build_model(small_config(name, **settings), SCHEMA, 0).double().eval()
    randomise(model)
    return model


def randomise(model):
    for parameter in model.parameters():
        parameter.data.add_(torch.rand_like(parameter) - 0.5)
    for buffer in model.buffers():
        buffer.add_(torch.rand_like(buffer) + 0.1)


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


# The formulas use w, the weights by name.


def looked_up(w, prefix):
    return [w[f"{prefix}.{name}.weight"][FEATURES[name].numpy()] for name in SIZES]


def concatenated(w):
    return np.concatenate(looked_up(w, "embeddings"), axis=1)


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def domain_linear(w, name, x):
    """Applies the layer of each row's domain, one row at a time."""
    rows = []
    for row, domain in zip(x, DOMAINS, strict=True):
        matrix = w[f"{name}.weight"][domain].reshape(-1, len(row))
        rows.append(matrix @ row + (w[f"{name}.bias"][domain] if f"{name}.bias" in w else 0))
    return np.stack(rows)


def relu(x):
    return np.maximum(0, x)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def layers(w, name, x, layer=linear):
    for number in (0, 3):
        x = relu(layer(w, f"{name}.{number}", x))
    return x


def deep(w, x):
    return linear(w, "output", layers(w, "hidden", x))[:, 0]


def tower(w, x):
    return domain_linear(w, "tower.3", relu(domain_linear(w, "tower.0", x)))[:, 0]


def mixed(experts, scores):
    return sum(softmax(scores)[:, [number]] * expert for number, expert in enumerate(experts))


def mlp(w):
    return deep(w, concatenated(w))


def wdl(w):
    return sum(looked_up(w, "wide"))[:, 0] + mlp(w)


def pairs(w):
    vectors = looked_up(w, "embeddings")
    return sum(vectors[i] * vectors[j] for i in range(3) for j in range(i + 1, 3))


def deepfm(w):
    return sum(looked_up(w, "linear"))[:, 0] + pairs(w).sum(1) + mlp(w)


def nfm(w):
    return sum(looked_up(w, "linear"))[:, 0] + deep(w, pairs(w))


def autoint(w):
    e = np.stack(looked_up(w, "embeddings"), axis=1)
    for level in range(sum(name.endswith("query.weight") for name in w)):
        query, key, value, residual = (
            e @ w[f"interacting.{level}.{part}.weight"].T for part in ("query", "key", "value", "residual")
        )
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            attention = softmax(np.einsum("rmd,rkd->rmk", query[..., head], key[..., head]))
            heads.append(np.einsum("rmk,rkd->rmd", attention, value[..., head]))
        e = relu(np.concatenate(heads, axis=-1) + residual)
    return linear(w, "linear", e.reshape(len(e), -1))[:, 0] + mlp(w)


def shared_bottom(w):
    return tower(w, layers(w, "bottom", concatenated(w)))


def mmoe(w):
    x = concatenated(w)
    experts = [layers(w, f"experts.{number}", x) for number in range(2)]
    return tower(w, mixed(experts, domain_linear(w, "gate.0", x)))


def extraction(w, name, x_d, x_s):
    experts = [layers(w, f"{name}.specific.{number}", x_d, domain_linear) for number in range(2)]
    experts += [layers(w, f"{name}.shared.{number}", x_s) for number in range(2)]
    return experts, mixed(experts, domain_linear(w, f"{name}.gate.0", x_d))


def cgc(w):
    x = concatenated(w)
    return tower(w, extraction(w, "extraction", x, x)[1])


def ple(w):
    x = concatenated(w)
    experts, g_d = extraction(w, "levels.0", x, x)
    g_s = mixed(experts, linear(w, "shared_gates.0", x))
    return tower(w, extraction(w, "levels.1", g_d, g_s)[1])


def star(w):
    n = {name.removeprefix("normalise."): value for name, value in w.items()}
    mean, var = (n[name][DOMAINS] / n["seen"][DOMAINS] for name in ("mean", "var"))
    x = (np.concatenate(looked_up(w, "embeddings")[:2], axis=1) - mean) / np.sqrt(var + EPSILON)
    x = n["scale"] * n["own_scale"][DOMAINS] * x + n["shift"] + n["own_shift"][DOMAINS]

    def star_linear(w, name, x):
        rows = []
        for row, domain in zip(x, DOMAINS, strict=True):
            matrix = w[f"{name}.shared.weight"] * w[f"{name}.weight"][domain].reshape(-1, len(row))
            rows.append(matrix @ row + w[f"{name}.shared.bias"] + w[f"{name}.bias"][domain])
        return np.stack(rows)

    main = star_linear(w, "network.6", layers(w, "network", x, star_linear))
    return (main + linear(w, "auxiliary.3", relu(linear(w, "auxiliary.0", concatenated(w)))))[:, 0]


EMBEDDINGS = 17 * 3
HIDDEN = (9 * 5 + 5) + (5 * 4 + 4)
TOWER = (4 * 3 + 3) + (3 + 1)
STAR_NETWORK = (6 * 5 + 5) + (5 * 4 + 4) + (4 + 1)
FORMULAS = {
    "mlp": (mlp, EMBEDDINGS + HIDDEN + (4 + 1)),
    "deepfm": (deepfm, EMBEDDINGS + 17 * 1 + HIDDEN + (4 + 1)),
    "wdl": (wdl, EMBEDDINGS + 17 * 1 + HIDDEN + (4 + 1)),
    "nfm": (nfm, EMBEDDINGS + 17 * 1 + (3 * 5 + 5) + (5 * 4 + 4) + (4 + 1)),
    "autoint": (autoint, EMBEDDINGS + 4 * (3 * 6) + 4 * (6 * 6) + 3 * 6 + HIDDEN + (4 + 1)),
    "shared_bottom": (shared_bottom, EMBEDDINGS + HIDDEN + 4 * TOWER),
    "mmoe": (mmoe, EMBEDDINGS + 2 * HIDDEN + 4 * (9 * 2) + 4 * TOWER),
    "cgc": (cgc, EMBEDDINGS + 2 * HIDDEN + 4 * (2 * HIDDEN + 9 * 4) + 4 * TOWER),
    "ple": (
        ple,
        EMBEDDINGS
        + (2 * HIDDEN + 4 * (2 * HIDDEN + 9 * 4) + 9 * 4)
        + (1 + 4) * 2 * ((4 * 5 + 5) + (5 * 4 + 4))
        + 4 * (4 * 4)
        + 4 * TOWER,
    ),
    "star": (star, EMBEDDINGS + (1 + 4) * (6 + 6) + (1 + 4) * STAR_NETWORK + (9 * 3 + 3) + (3 + 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_backbone_computes_its_formula(name):
    model = random_model(name)
    formula, count = FORMULAS[name]
    np.testing.assert_allclose(model(FEATURES).detach().numpy(), formula(arrays(model)), rtol=0, atol=1e-12)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("levels", [1, 3])
def test_autoint_has_one_interacting_layer_for_each_level(levels):
    model = random_model("autoint", levels=levels)
    assert len(model.interacting) == levels
    np.testing.assert_allclose(model(FEATURES).detach().numpy(), autoint(arrays(model)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_frozen_vectors_of_another_width_are_used_but_not_trained(name):
    vectors = {"user_id": torch.randn(7, 8)}
    model = small_model(name, vectors=vectors)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["embeddings.user_id.weight"]
    before = model(FEATURES)
    vectors["user_id"].zero_()
    model.get_parameter(frozen[0]).data.zero_()
    assert before.shape == (5,)
    assert not torch.equal(before, model(FEATURES))


@pytest.mark.parametrize("name", MODELS)
def test_every_table_is_declared_with_its_vocabulary(name):
    sizes = {"user_id": 101, "item_id": 102, "domain_id": 103}
    model = build_model(small_config(name), Schema.of(sizes), 0)
    for key, value in model.state_dict().items():
        of_size = [feature for feature, size in sizes.items() if len(value) == size]
        assert of_size == ([model.tables[key]] if key in model.tables else [])


@pytest.mark.parametrize("name", BY_DOMAIN)
def test_docstring_states_the_memory_of_a_domain(name):
    model = build_model(ModelConfig(name=name), SCHEMA, 0)
    by_domain = [key for key, vocabulary in model.tables.items() if vocabulary == "domain_id"]
    floats = sum(model.state_dict()[key].shape[1] for key in by_domain if key != "embeddings.domain_id.weight")
    docstring = " ".join(model.__doc__.split())
    stated = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+)(?: floats| of statistics)", docstring)]
    assert sum(stated) == floats
    assert f"{69_102 * 4 * floats / 1e9:.2f} GB for 69,102 domains" in docstring


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("domains", [[3, 1, 1, 3, 1, 0], [2] * 6])
def test_tables_can_be_replaced_by_the_rows_of_a_batch(name, domains):
    model = random_model(name)
    theta = SharedParameters.of(model)
    features = {**random_features(6), "domain_id": torch.tensor(domains)}
    ids, numbered = renumber_ids(features, theta.features_of)
    rows = theta.rows({**theta.tables, **theta.statistics}, ids)
    torch.testing.assert_close(functional_call(model, rows, (numbered,)), model(features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_offsets_of_zero_change_nothing(name):
    model = random_model(name)
    lines = {feature: column.view(3, 4) for feature, column in random_features(12).items()}
    lines["domain_id"] = torch.tensor([[2], [0], [3]]).expand(3, 4)
    flat = {feature: column.flatten() for feature, column in lines.items()}
    with torch.no_grad():
        torch.testing.assert_close(zero_group_logits(model, lines).flatten(), model(flat), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_domains_of_a_group_have_different_dropout(name):
    model = random_model(name, dropout=0.5, hidden=[32, 16]).train()
    if name == "star":
        model.normalise.eval()  # as in frozen_statistics
    lines = {feature: column.repeat(2, 1) for feature, column in random_features(12).items()}
    lines["domain_id"] = torch.ones(2, 12, dtype=torch.int64)
    logits = zero_group_logits(model, lines)
    assert not torch.equal(logits[0], logits[1])


def zero_group_logits(model, lines):
    theta = SharedParameters.of(model)
    ids = {vocabulary: torch.tensor([1, 3]) for vocabulary in theta.features_of}
    return group_logits(model, theta, OffsetGroup.zeros(theta, [ids] * len(lines["domain_id"])), lines)


def random_features(rows, sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    return {name: torch.from_numpy(rng.integers(size, size=rows)) for name, size in sizes.items()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_every_feature_matters_and_padding_does_not(name, pooling):
    config = small_config(name, hidden=[16, 8], tower=[8], pooling=pooling)
    model = build_model(config, Schema.of(SIZES, FURTHER), 0).double().eval()
    randomise(model)
    features = {
        **FEATURES,
        "genre": torch.tensor([0, 1, 2, 3, 4]),
        "price": torch.linspace(-1, 1, 5, dtype=torch.float64),
        "tags": torch.tensor([[0, 1, 2], [3, 4, 5], [5, 0, 0], [1, 2, 0], [0, 0, 0]]),
        "tags_length": torch.tensor([3, 3, 1, 2, 0]),
        "history": torch.tensor([[5, 4, 3, 2], [1, 1, 0, 0], [2, 0, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]),
        "history_length": torch.tensor([4, 2, 1, 3, 0]),
    }
    logits = model(features)
    assert logits.shape == (5,)
    for feature in (*SIZES, "genre", "price", "tags", "history"):
        changed = features[feature].clone()
        changed[0] = (changed[0] + 1) % 4
        after = model({**features, feature: changed})
        assert after[0] != logits[0]
        torch.testing.assert_close(after[1:], logits[1:], rtol=0, atol=1e-12)
    for feature in ("tags", "history"):
        padding = torch.arange(features[feature].shape[1]) >= features[f"{feature}_length"].unsqueeze(1)
        filled = torch.where(padding, 3, features[feature])
        torch.testing.assert_close(model({**features, feature: filled}), logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_step_with_69102_domains_touches_those_in_the_batch(name):
    domains = 69_102
    schema = Schema.of({"user_id": 50, "item_id": 40, "domain_id": domains})
    config = ModelConfig(name=name, embedding_dim=2, hidden=[3], tower=[2], heads=2)
    model = build_model(config, schema, 0)
    theta = SharedParameters.of(model)
    assert sum(value.numel() for value in theta.dense.values()) < domains
    features = random_features(1024, schema.sizes)
    features["domain_id"] = features["domain_id"][features["domain_id"] % 300]
    batch = Batch(features, torch.arange(1024).remainder(2).float())
    gradients = InnerOptimizer(model, 0.1).gradients(theta, batch)
    ids, rows = gradients.rows["domain_id"]
    assert ids.tolist() == sorted(set(features["domain_id"].tolist()))
    assert set(rows) == set(theta.tables_of("domain_id"))
    for gradient in rows.values():
        assert len(gradient) == len(ids)
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).any()
    with torch.no_grad():
        assert model.eval()(random_features(PREDICT_ROWS, schema.sizes)).shape == (PREDICT_ROWS,)


def test_blocks_hold_one_domain_each_and_are_few():
    domain_id = torch.tensor([4, 9, 4, 4])
    blocks = Blocks(domain_id, torch.empty(11, 1))
    cut = blocks.cut(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    assert cut.squeeze(-1).tolist() == [[1, 3], [4, 0], [2, 0]]
    assert blocks.of(torch.arange(11.0).unsqueeze(1)).flatten().tolist() == [4, 4, 9]

    for seed in range(20):
        domain_id = torch.from_numpy(np.random.default_rng(seed).geometric(0.1, size=200) % 50)
        blocks = Blocks(domain_id, torch.empty(50, 1))
        x = torch.stack([domain_id + 1, torch.arange(200)], dim=1).double()
        cut = blocks.cut(x)
        assert torch.equal(blocks.join(cut), x)
        of_domain = cut[..., 0] == blocks.of(torch.arange(50).unsqueeze(1)) + 1
        assert (of_domain | (cut == 0).all(-1)).all()
        assert len(cut) < 2 * len(domain_id.unique())
        assert cut[..., 0].numel() < 2 * 200


def test_layer_by_domain_has_exact_first_and_second_derivatives():
    layer = ByDomain(DomainLinear(4, 3, 2)).double()
    domain_id = torch.tensor([2, 0, 2, 2, 3])
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)

    def forward(x, weight, bias):
        return functional_call(layer, {"0.weight": weight, "0.bias": bias}, (x, Blocks(domain_id, weight))).square()

    assert torch.autograd.gradcheck(forward, (x, *layer.parameters()))
    assert torch.autograd.gradgradcheck(forward, (x, *layer.parameters()))


def test_partitioned_norm_is_batch_normalisation_within_each_domain():
    norm = PartitionedNorm(4, 3).double()
    for parameter in norm.parameters():
        parameter.data.normal_()
    domain_id = torch.tensor([2, 0, 2, 3, 0, 2, 0])
    x = torch.randn(7, 3, dtype=torch.float64)
    scale, shift = norm.scale * norm.own_scale, norm.shift + norm.own_shift

    trained = norm(x, domain_id)
    for domain in (0, 2):
        rows = domain_id == domain
        expected = batch_norm(x[rows], None, None, scale[domain], shift[domain], training=True, eps=EPSILON)
        torch.testing.assert_close(trained[rows], expected, rtol=0, atol=1e-12)
    single = x[3] / np.sqrt(1 + EPSILON) * scale[3] + shift[3]
    torch.testing.assert_close(trained[3], single, rtol=0, atol=1e-12)
    assert norm.seen.flatten().tolist() == [0.1, 0, 0.1, 0]

    evaluated = norm.eval()(x, domain_id)
    for domain in (0, 2):  # after one batch the averages are its mean and variance
        rows = domain_id == domain
        var = x[rows].var(0) + EPSILON
        expected = (x[rows] - x[rows].mean(0)) / var.sqrt() * scale[domain] + shift[domain]
        torch.testing.assert_close(evaluated[rows], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(evaluated[3], single, rtol=0, atol=1e-12)


def test_partitioned_norm_corrects_averages_for_their_start():
    norm = PartitionedNorm(1, 1).double()
    batches = [torch.tensor([[0.0], [2.0]]).double(), torch.tensor([[4.0], [10.0]]).double()]
    for batch in batches:
        norm(batch, torch.tensor([0, 0]))
    mean, var = (0.9 * 1 + 7) / 1.9, (0.9 * 2 + 18) / 1.9
    at_mean, above = norm.eval()(torch.tensor([[mean], [mean + np.sqrt(var + EPSILON)]]).double(), torch.tensor([0, 0]))
    assert at_mean.item() == pytest.approx(0)
    assert above.item() == pytest.approx(1)


def test_step_moves_the_statistics_of_domains_in_the_batch():
    model = small_model("star")
    theta = SharedParameters.of(model)
    features = {**random_features(9), "domain_id": torch.tensor([3, 0, 3, 0, 0, 1, 3, 3, 3])}
    InnerOptimizer(model, 0.1).gradients(theta, Batch(features, torch.zeros(9).double()))
    vectors = model.embeddings(features)
    x = torch.cat([vectors["user_id"], vectors["item_id"]], dim=1)
    for domain in (0, 3):
        rows = x[features["domain_id"] == domain]
        torch.testing.assert_close(theta.statistics["normalise.mean"][domain], 0.1 * rows.mean(0))
        torch.testing.assert_close(theta.statistics["normalise.var"][domain], 0.1 * rows.var(0))
    for name in ("normalise.mean", "normalise.var", "normalise.seen"):
        assert theta.statistics[name][[1, 2]].eq(0).all()  # domains with one row and with none
        assert theta.statistics[name].data_ptr() == model.get_buffer(name).data_ptr()


def test_star_starts_with_the_same_network_for_every_domain():
    model = small_model("star").eval()
    model.embeddings.domain_id.weight.data[:] = model.embeddings.domain_id.weight.data[0]
    moved = {**FEATURES, "domain_id": FEATURES["domain_id"].roll(1)}
    torch.testing.assert_close(model(moved), model(FEATURES), rtol=0, atol=1e-12)


def test_seed_decides_the_initial_values():
    weights = [arrays(small_model(seed=seed))["output.weight"] for seed in (0, 0, 1)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_each_domain_starts_like_a_separate_linear_layer():
    layer = DomainLinear(100, 4, 5)
    for table in (layer.weight, layer.bias):
        assert len(table.unique()) > 0.99 * table.numel()
        assert 0.49 < table.max() <= 0.5
        assert -0.5 <= table.min() < -0.49


def test_error_names_an_unknown_backbone():
    with pytest.raises(UserError, match='model.name "mpl" does not exist: choose one of mlp, deepfm'):
        build_model(ModelConfig(name="mpl"), SCHEMA, 0)
