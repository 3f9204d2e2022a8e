"""The full model on our engine is transformers' `generate`."""

import pytest
import torch

from exactness import assert_equal_up_to_near_ties, assert_rounded, near_ties
from models.sampling import Sampler
from tiny import (
    DISTINCT,
    NAMES,
    PROMPTS,
    batch_of,
    by_family,
    decode,
    decode_each,
    forced_logits,
    hf_forced_logits,
    hf_generated,
    method_of,
    prompts_of,
    staggered_eos,
    tiny_model,
    tiny_stack,
)

NEW = 16


def assert_equals_generate(stack, answer, generated):
    """Token for token, up to near ties."""
    cases = [
        (f"{stack.config.model_type} row {row}", got, wanted, near_ties(gaps))
        for row, (got, wanted, gaps) in enumerate(
            zip(answer.outputs, generated.outputs, generated.gaps, strict=True)
        )
    ]
    assert_equal_up_to_near_ties(cases)


@pytest.mark.parametrize("name", NAMES)
def test_equals_generate_alone_and_in_a_batch_whose_rows_end_at_different_steps(name):
    stack = tiny_stack(name)
    full = method_of("full", stack)
    free = decode(full, new=NEW)
    assert len({tuple(output) for output in free.outputs}) == len(PROMPTS), "every prompt its own output"
    eos = staggered_eos(free.outputs)

    generated = hf_generated(stack.model, PROMPTS, NEW, eos)
    assert_equals_generate(stack, decode(full, new=NEW, eos=eos), generated)
    assert_equals_generate(stack, decode_each(full, new=NEW, eos=eos), generated)


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_transformers(name):
    """Closer than tokens can tell: a mask that is wrong by one slot moves logits by far more than this."""
    stack = tiny_stack(name)
    answer = decode(method_of("full", stack), [PROMPTS[0]], new=NEW)
    with torch.inference_mode():
        wanted = stack.model(torch.tensor([PROMPTS[0] + answer.outputs[0][:-1]])).logits
    wanted = wanted[0, len(PROMPTS[0]) - 1 :]
    assert_rounded(torch.cat(answer.logits), wanted)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompts", [PROMPTS, prompts_of((1,)), prompts_of((1, 7))], ids=["4", "1", "1,7"])
def test_first_token_from_the_method_is_the_one_from_the_prefill(name, prompts):
    full = method_of("full", tiny_stack(name))
    usual, held = decode(full, prompts, new=NEW), decode(full, prompts, new=NEW, hold_back=True)
    assert held.outputs == usual.outputs
    assert len(held.calls) == len(usual.calls) + 1
    assert held.ffn_runs == [[runs + 1 for runs in row] for row in usual.ffn_runs]


@pytest.mark.parametrize("name", by_family([()]))
def test_bfloat16_is_as_near_to_float32_as_generate_is(name):
    """Tokens depend on how a machine's library sums. So logits of given tokens are compared, with those that
    the same weights give in float32.

    The engine rounds at most as often as transformers, so its errors are at most another draw of the same
    size; over 64 positions two draws do not differ by half.
    """
    exact, rounded = tiny_model(name, torch.bfloat16).float(), tiny_model(name, torch.bfloat16)
    full, own, theirs = method_of("full", tiny_stack(name, torch.bfloat16)), 0.0, 0.0
    for prompt in PROMPTS:
        tokens = hf_generated(exact, [prompt], NEW).outputs[0]
        wanted = hf_forced_logits(exact, prompt, tokens)
        own += (forced_logits(full, prompt, tokens).float() - wanted).square().sum().item()
        theirs += (hf_forced_logits(rounded, prompt, tokens).float() - wanted).square().sum().item()
    assert 0 < own**0.5 <= 1.5 * theirs**0.5


@pytest.mark.parametrize("name", DISTINCT)
def test_sampled_outputs_do_not_depend_on_the_batch(name):
    full = method_of("full", tiny_stack(name))
    sampler = Sampler(temperature=0.8, top_k=50, top_p=0.95)
    eos = staggered_eos(decode(full, sampler=sampler).outputs)
    together, alone = decode(full, sampler=sampler, eos=eos), decode_each(full, sampler=sampler, eos=eos)
    assert together.outputs == alone.outputs and len(set(map(len, alone.outputs))) > 1
    assert together.outputs != decode(full, eos=eos).outputs


def test_nothing_is_counted_past_the_end():
    """Limit 1: the prefill's token is the whole answer; stop strings end a row like EOS does."""
    full = method_of("full", tiny_stack("llama"))
    one = decode(full, new=1)
    assert [len(output) for output in one.outputs] == [1] * 4
    assert one.finish == ["length"] * 4 and one.calls == ["prefilled"]
    assert sum(map(sum, one.ffn_runs)) == 0

    free = decode(full)
    stopped = decode(full, stopped=lambda row, ids: len(ids) == 3 + row)
    assert stopped.outputs == [output[: 3 + row] for row, output in enumerate(free.outputs)]
    assert stopped.finish == ["stop"] * 4
    assert [runs[0] for runs in stopped.ffn_runs] == [2, 3, 4, 5]


def test_accepting_several_tokens_drops_what_lies_past_the_end():
    stack = tiny_stack("llama")
    batch = batch_of(stack, [PROMPTS[1]], new=5, eos=frozenset({7}))
    assert batch.accept([[1]], fed=0) == [1]
    assert batch.accept([[2, 3, 7, 4]], fed=4) == [3]
    assert batch.outputs == [[1, 2, 3, 7]] and batch.finish == ["eos"] and batch.live == []

    batch = batch_of(stack, [PROMPTS[1]], new=5)
    assert batch.accept([[1, 2, 3, 4, 5, 6, 7]], fed=7) == [5]
    assert batch.finish == ["length"]


def test_smollm_equals_generate(smollm, smollm_prompts):
    check_real(smollm, smollm_prompts[:3], new=24)


@pytest.mark.slow
def test_equals_generate_on_real_models(real):
    check_real(real.model, real.prompts, new=96)


def check_real(model, prompts, new):
    full = method_of("full", model.stack)
    generated = hf_generated(model.stack.model, prompts, new, model.eos)
    together = decode(full, prompts, new=new, eos=model.eos)
    assert_equals_generate(model.stack, together, generated)
    alone = decode(full, prompts[:1], new=new, eos=model.eos)
    assert_equals_generate(model.stack, alone, hf_generated(model.stack.model, prompts[:1], new, model.eos))
