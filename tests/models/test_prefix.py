"""A pass over prompts that is kept: the tokens of reading them again, without reading them again."""

from itertools import pairwise

import pytest
import torch

from models.devices import Part
from models.prefix import Prefix
from models.stack import Stack
from tiny import NAMES, PROMPTS, decode, method_of, staggered_eos, tiny_model, tiny_stack

PLENTY = 2**30


@pytest.fixture
def passes(monkeypatch):
    """Slots of every pass over a whole plan."""
    seen, run = [], Stack.run

    def counted(stack, plan, ids, step):
        seen.append(ids.shape[1])
        return run(stack, plan, ids, step)

    monkeypatch.setattr(Stack, "run", counted)
    return seen


def reads(seen):
    return sum(slots > 1 for slots in seen)


@pytest.mark.parametrize("hold_back", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_same_tokens_from_what_was_kept(name, hold_back, passes):
    """Rows end at different steps, so that the cache the prefix was taken from is packed in between."""
    full = method_of("full", tiny_stack(name))
    more = {"hold_back": hold_back}
    eos = staggered_eos(decode(full, **more).outputs)
    wanted, prefix = decode(full, eos=eos, **more), Prefix(PLENTY)
    passes.clear()
    found = [decode(full, eos=eos, prefix=prefix, **more) for _ in range(3)]
    assert [one.outputs for one in found] == [wanted.outputs] * 3
    assert reads(passes) == 1
    for one, other in pairwise([wanted, *found]):
        assert all(torch.equal(a, b) for a, b in zip(one.logits, other.logits, strict=True))


def test_what_one_setting_has_read_another_decodes_from(passes):
    stack, prefix = tiny_stack("llama"), Prefix(PLENTY)
    decode(method_of("full", stack), prefix=prefix)
    setting = {"confidence": "saturation", "threshold": 0.6, "min_exit_layer": 1, "kv_policy": "hole"}
    skipping = method_of("early_exit", stack, **setting)
    wanted = decode(skipping)
    # Another batch in between has used the cache.
    decode(method_of("full", stack), [prompt * 3 for prompt in PROMPTS])
    passes.clear()
    assert decode(skipping, prefix=prefix).outputs == wanted.outputs
    assert reads(passes) == 0


def test_a_model_in_parts():
    parts = [Part(torch.device("cpu"), 1), Part(torch.device("cpu"), 3)]
    full, prefix = method_of("full", Stack(tiny_model("gemma3"), parts=parts)), Prefix(PLENTY)
    found = [decode(full, prefix=prefix).outputs for _ in range(2)]
    assert found == [decode(method_of("full", tiny_stack("gemma3"))).outputs] * 2


def test_nothing_is_kept_beyond_the_memory_granted(passes):
    full = method_of("full", tiny_stack("llama"))
    kept = Prefix(PLENTY)
    wanted = decode(full, prefix=kept)
    slots = max(len(prompt) for prompt in PROMPTS)
    assert kept.bytes >= len(PROMPTS) * slots * 4
    for granted, expected in ((kept.bytes - 1, 2), (kept.bytes, 1)):
        passes.clear()
        prefix = Prefix(granted)
        assert [decode(full, prefix=prefix).outputs for _ in range(2)] == [wanted.outputs] * 2
        assert reads(passes) == expected
