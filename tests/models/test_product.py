"""Which product is used is measured once, and weights exist once whatever is chosen."""

import json

import pytest
import torch
from torch import nn

from exactness import assert_rounded
from models import product as room
from models.errors import ModelError
from models.kernels import WAYS, Kernels, kernels
from models.product import SIZES, Choice, Products, products_for
from models.stack import Stack
from tiny import PROMPTS, decode, hf_generated, method_of, needs_kernels, prompts_of, tiny_model

CPU = torch.device("cpu")
LINEAR = len(WAYS)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Pretended:
    """Kernels that are only named."""

    name = "kernels-of-a-test"


def settled(monkeypatch, times):
    """Products of one matrix, with measurements that take the given times by (vectors, way)."""
    sizes = iter(SIZES)
    monkeypatch.setattr(room, "_SMALL", 0)
    measured = []

    def seconds(sides):
        size = next(sizes)
        measured.append(size)
        return [times(size, way) for way in range(len(sides))]

    monkeypatch.setattr(room, "seconds", seconds)
    products = Products(Pretended())
    products.settle([torch.ones(6, 5)])
    return products, measured


def test_the_fastest_way_is_taken_for_each_number_of_vectors(monkeypatch):
    best = {1: 0, 2: 1, 4: 3, 8: 2, 16: 3, 32: 3}
    products, measured = settled(monkeypatch, lambda size, way: 1.0 if way == best[size] else 2.0)
    choice = products.choice(torch.ones(6, 5))
    assert measured == list(SIZES)
    assert [choice.way(count) for count in (1, 2, 3, 4, 5, 8, 9, 32)] == [0, 1, 3, 3, 2, 2, 2, 2]
    assert choice.most == 32 and products.name == "kernel"


def test_torch_is_left_with_what_it_does_better(monkeypatch):
    """From sixteen vectors on here; a tenth slower still counts as equal."""
    slower = {8: 1.09, 16: 1.2}
    products, measured = settled(
        monkeypatch, lambda size, way: 1.0 if way == LINEAR else slower.get(size, 0.5)
    )
    assert products.choice(torch.ones(6, 5)).most == 8 and measured == [1, 2, 4, 8, 16]
    products, _ = settled(monkeypatch, lambda size, way: 1.0 if way == LINEAR else 5.0)
    # The measurement is kept: another process, and so another choice, needs another machine.
    assert products.choice(torch.ones(6, 5)).most == 8


def test_where_torch_is_always_better_kernels_are_not_used(monkeypatch):
    products, _ = settled(monkeypatch, lambda size, way: 1.0 if way == LINEAR else 5.0)
    assert products.choice(torch.ones(6, 5)).most == 0 and products.name == "linear"


def test_a_damaged_note_is_measured_again(monkeypatch, cache):
    settled(monkeypatch, lambda size, way: 1.0)
    (note,) = cache.glob("products.json")
    kept = json.loads(note.read_text())
    (name,) = kept
    for damaged in ({"ways": [1, 2], "most": 3}, {"ways": [9] * 4, "most": 3}, {"most": 1}, 7, None):
        note.write_text(json.dumps({name: damaged}))
        _, measured = settled(monkeypatch, lambda size, way: 1.0)
        assert measured and json.loads(note.read_text()) == kept
    note.write_text("[")
    assert settled(monkeypatch, lambda size, way: 1.0)[1]


def test_small_models_are_not_measured(monkeypatch):
    monkeypatch.setattr(room, "seconds", None)
    assert Products(Pretended()).choice(torch.ones(3, 3)) == Choice()
    Products(Pretended()).settle([torch.ones(100, 100)])


@needs_kernels
def test_a_real_measurement_ends_in_a_choice(monkeypatch):
    monkeypatch.setattr(room, "_SMALL", 0)
    products = products_for("auto", CPU, torch.float32)
    matrix = torch.randn(300, 200)
    products.settle([matrix, matrix.clone()])
    assert products.choice(matrix).most in (0, *SIZES)
    for count in (1, 3, 40):
        vectors = torch.randn(count, 200)
        assert_rounded(products.multiply(vectors, matrix), vectors @ matrix.t())


@pytest.mark.parametrize("layer", ["fused", "hf"])
@pytest.mark.parametrize("name", ["llama_tied", "qwen2", "gemma2", "opt"])
def test_transposed_weights_exist_once_and_transformers_goes_on_working(name, layer):
    if name in ("gemma2", "opt") and layer == "fused":
        layer = "auto"
    model = tiny_model(name)
    before = {path: parameter.clone() for path, parameter in model.named_parameters()}
    tokens = decode(method_of("full", Stack(tiny_model(name), layer, product="linear"))).outputs
    stack = Stack(model, layer, product="transposed")
    assert stack.products.name == "transposed" and stack.products.beside_transformers == "linear"
    matrices = [matrix for one in stack.layers for matrix in one.matrices()] + [stack.head_weight]
    assert all(matrix.stride(0) == 1 for matrix in matrices)
    for path, parameter in model.named_parameters():
        assert torch.equal(parameter, before[path])
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
    assert sum(storages.values()) == sum(p.numel() for p in model.parameters()) * 4
    assert decode(method_of("full", stack)).outputs == tokens
    assert hf_generated(model, PROMPTS[:1], 12).outputs == tokens[:1]


def test_layouts_are_left_alone_beside_transformers(monkeypatch):
    """Without kernels, where another layout would be faster."""
    monkeypatch.setattr(room, "kernels", lambda: ModelError("there is no C++ compiler"))
    monkeypatch.setattr(room, "_layout_time", lambda dtype: 0.5)
    model = tiny_model("llama")
    assert Stack(model, keep_layout=True).products.name == "linear"
    method_of("hf_generate", Stack(model, keep_layout=True))
    with pytest.raises(ModelError, match="would change the speed of transformers itself"):
        Stack(model, keep_layout=True, product="transposed")
    stack = Stack(model)
    assert (stack.layer_name, stack.products.name) == ("fused", "transposed")
    with pytest.raises(ValueError, match="hf_generate times transformers as it comes") as refused:
        method_of("hf_generate", stack)
    assert "\n" not in str(refused.value)


def test_a_layout_that_gains_little_is_not_taken(monkeypatch):
    monkeypatch.setattr(room, "kernels", lambda: ModelError("there is no C++ compiler"))
    monkeypatch.setattr(room, "_layout_time", lambda dtype: 0.95)
    assert products_for("auto", CPU, torch.float32).name == "linear"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_time_of_layouts_can_be_measured(monkeypatch, dtype):
    monkeypatch.setattr(room, "SIDE", 64)
    assert room._layout_time(dtype) > 0


@needs_kernels
def test_engines_own_products_reach_every_layer(monkeypatch):
    """Layers of transformers too, whose modules are left as they are."""
    calls = []
    right = Kernels.product
    monkeypatch.setattr(
        Kernels,
        "product",
        lambda self, matrix, *more: calls.append(tuple(matrix.shape)) or right(self, matrix, *more),
    )
    model = tiny_model("gemma3")
    tokens = hf_generated(model, PROMPTS[:1], 12).outputs
    assert not calls
    stack = Stack(model, "hf")
    assert decode(method_of("full", stack), PROMPTS[:1]).outputs == tokens
    shapes = {tuple(linear.weight.shape) for linear in model.modules() if type(linear) is nn.Linear}
    assert set(calls) == shapes
    calls.clear()
    assert hf_generated(model, PROMPTS[:1], 12).outputs == tokens and not calls


def test_what_is_asked_for_and_not_to_be_had_is_one_line(monkeypatch):
    with pytest.raises(ModelError, match="product=best is unknown; choose auto, kernel"):
        products_for("best", CPU, torch.float32)
    for asked in ("kernel", "transposed"):
        for device, dtype in ((torch.device("cuda"), torch.float32), (CPU, torch.float16)):
            with pytest.raises(ModelError, match="is for float32 and bfloat16 on a CPU"):
                products_for(asked, device, dtype)
    assert products_for("auto", torch.device("cuda"), torch.bfloat16).name == "linear"
    monkeypatch.setattr(room, "kernels", lambda: ModelError("there is no C++ compiler"))
    with pytest.raises(ModelError, match=r"engine.product=kernel: there is no C\+\+ compiler; leave"):
        products_for("kernel", CPU, torch.float32)


@needs_kernels
def test_kernels_are_not_given_what_they_cannot_read():
    """They are told addresses and one type: everything else is torch's."""
    products = Products(kernels())
    matrix, vectors = torch.randn(6, 8), torch.randn(2, 8)
    across = torch.randn(8, 6).t()
    assert torch.equal(products.multiply(vectors, across), vectors @ across.t())
    with pytest.raises(RuntimeError, match="dtype"):
        products.multiply(vectors.bfloat16(), matrix)
    model = tiny_model("llama", torch.bfloat16)
    model.model.layers[0].input_layernorm.float()
    stack = Stack(model)
    assert stack.layer_name == "native" and [layer._readable for layer in stack.layers[:2]] == [False, True]


def test_a_second_engine_takes_the_first_ones_merged_weights():
    model = tiny_model("llama")
    stacks = [Stack(model, "fused", product="linear") for _ in range(2)]
    first, second = (
        [matrix.data_ptr() for layer in stack.layers for matrix in layer.matrices()] for stack in stacks
    )
    assert first == second
    wanted = hf_generated(model, PROMPTS, 12).outputs
    assert decode(method_of("full", stacks[1])).outputs == wanted


@needs_kernels
def test_products_agree_up_to_near_ties():
    prompts = prompts_of((12, 12))
    by = {
        name: decode(method_of("full", Stack(tiny_model("llama"), "fused", product=name)), prompts)
        for name in ("kernel", "linear", "transposed")
    }
    assert by["kernel"].outputs == by["linear"].outputs == by["transposed"].outputs
