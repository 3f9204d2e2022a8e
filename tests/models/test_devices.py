"""A model in parts: the same tokens, and nothing of one device ever meets something of another."""

from itertools import pairwise
from operator import attrgetter

import pytest
import torch

from models.devices import Part, balanced, spread
from models.errors import ModelError
from models.families import family_of
from models.loading import EngineConfig
from models.stack import Stack
from models.step import Step
from pretended_devices import Mixed, Pretended, device_of
from tape import TapeRecorder
from tiny import LAYERS, NAMES, PROMPTS, decode, method_of, tiny_model, tiny_stack

HOST = torch.device("cpu")
# Parts of one device are parts all the same: each has its cache, and steps of its own.
PARTS = [Part(HOST, 1), Part(HOST, 2), Part(HOST, 1)]
METHODS = {
    "full": {},
    "ffnskip": {"threshold": 0.2},
    "early_exit": {"confidence": "saturation", "threshold": 0.6, "min_exit_layer": 1},
    "skipdecode": {"min_layers": 2, "max_layers": 4},
    "random_layer": {"share": 0.5},
    "swift": {"skip_ratio": 0.5, "context_window": 4, "draft_threshold": 0.0},
    "prompt_lookup": {},
}


def parted(name, parts=PARTS):
    return Stack(tiny_model(name), "hf" if name.endswith("_hf") else "auto", parts=parts)


def same(method, name, rows, **params):
    prompts = [prompt * 2 for prompt in PROMPTS[:rows]]
    whole = method_of(method, tiny_stack(name), **params)
    split = method_of(method, parted(name), **params)
    wanted, found = decode(whole, prompts), decode(split, prompts)
    assert found.outputs == wanted.outputs
    assert (found.attention_runs, found.ffn_runs) == (wanted.attention_runs, wanted.ffn_runs)
    assert split.stack.bytes_read("final") == whole.stack.bytes_read("final")
    assert split.stack.full_bytes(5, [3]) == whole.stack.full_bytes(5, [3])


@pytest.mark.parametrize("name", NAMES)
def test_every_family(name):
    same("full", name, 4)


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_skipping(method):
    rows = 1 if method in ("swift", "prompt_lookup") else 3
    same(method, "llama", rows, **METHODS[method])


@pytest.mark.parametrize("policy", ["propagate", "copy", "hole", "defer"])
def test_the_kv_above_an_exit(policy):
    rows = 1 if policy == "defer" else 3
    same("early_exit", "qwen2_window", rows, kv_policy=policy, **METHODS["early_exit"])


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, "llama") for method in METHODS]
    + [pytest.param(method, "gemma3", marks=pytest.mark.slow) for method in METHODS]
    + [("full", name) for name in ("llama_hf", "mistral_window", "gpt_neox", "opt")],
)
def test_devices_never_mix(name, method):
    devices = [torch.device("xpu", index) for index in range(3)]
    rows = 1 if method in ("swift", "prompt_lookup") else 3
    with Pretended():
        model = tiny_model(name)
        parts = spread(model, attrgetter(family_of(model.config).layers)(model), devices)
        assert len(parts) == 3 and sum(part.layers for part in parts) == LAYERS
        stack = Stack(model, "hf" if name.endswith("_hf") else "auto", parts=parts)
        assert stack.device == devices[0] and stack.devices == devices
        found = decode(method_of(method, stack, **METHODS[method]), PROMPTS[:rows])
        places = [device_of(layer.matrices()[0]) for layer in stack.layers]
        assert places == [part.device for part in parts for _ in range(part.layers)]
        assert [device_of(part.blocks) for part in stack.cache.parts] == devices
    wanted = decode(method_of(method, tiny_stack(name), **METHODS[method]), PROMPTS[:rows])
    assert found.outputs == wanted.outputs


@pytest.mark.parametrize("policy", ["propagate", "copy", "hole", "defer"])
def test_devices_never_mix_above_an_exit(policy):
    rows, params = 1 if policy == "defer" else 3, {"kv_policy": policy, **METHODS["early_exit"]}
    with Pretended():
        model = tiny_model("llama")
        parts = spread(model, model.model.layers, [torch.device("xpu", index) for index in range(3)])
        split = method_of("early_exit", Stack(model, parts=parts), **params)
        found = decode(split, PROMPTS[:rows])
        exits = [layer for row in range(rows) for layer in split.columns(row)["exit_layers"]]
    # Some leave below the last part, whose K,V are then a matter of policy.
    assert min(exits) < LAYERS - parts[-1].layers
    whole = method_of("early_exit", tiny_stack("llama"), **params)
    assert found.outputs == decode(whole, PROMPTS[:rows]).outputs


def test_what_pretends_would_notice():
    with Pretended():
        here, there = torch.zeros(2, device="xpu:0"), torch.zeros(2, device="xpu:1")
        with pytest.raises(Mixed):
            here + there
        with pytest.raises(Mixed):
            torch.cat((here, there[:1]))
        assert (here + there.to("xpu:0")).device == torch.device("xpu:0")
        # A layer that keeps the home's step.
        model = tiny_model("llama")
        parts = spread(model, model.model.layers, [torch.device("xpu", index) for index in range(2)])
        stack = Stack(model, parts=parts)
        stack.reserve(1, 8)
        step = Step.causal(0, 2, torch.zeros(1, dtype=torch.int64, device="xpu:0"), None)
        state = torch.zeros(1, 2, 32, device="xpu:1")
        with pytest.raises(Mixed):
            stack.layers[-1]._there._attention_sum(state, step)


# (4, 100, 2): the embedding and the head fill the first.
@pytest.mark.parametrize(
    ("layers", "home", "devices"),
    [(32, 0, 2), (32, 4, 2), (5, 0, 2), (4, 100, 2), (80, 2, 4), (2, 0, 4), (7, 3, 1)],
)
def test_layers_are_dealt_out_evenly(layers, home, devices):
    parts = balanced(layers, 1, home, [torch.device("cuda", index) for index in range(devices)])
    found = {part.device.index: part.layers for part in parts}
    assert sum(found.values()) == layers and found[0] >= 1
    loads = [found.get(index, 0) + (home if index == 0 else 0) for index in range(devices)]
    best = max(home, -(-(layers + home) // devices))
    assert max(loads) <= best + 1
    assert all(before.device.index < after.device.index for before, after in pairwise(parts))


def test_one_device_is_recorded_alone():
    with pytest.raises(ModelError, match=r"these layers lie on several"):
        Stack(tiny_model("llama"), parts=PARTS, recorder=TapeRecorder())
    with pytest.raises(ModelError, match=r"engine.device_map=balanced is unknown; choose auto or null"):
        EngineConfig(device_map="balanced")
    with pytest.raises(ModelError, match=r"leave engine.device_map=null"):
        EngineConfig(device_map="auto", compile=True)


def test_the_models_own_forward_pass_goes_on_working():
    model, prompt = tiny_model("llama"), torch.tensor([PROMPTS[0]])
    wanted = model(prompt).logits
    spread(model, model.model.layers, [HOST, HOST])
    assert torch.equal(model(prompt).logits, wanted)
