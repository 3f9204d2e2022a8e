"""SWIFT: what it drafts, how it scores, when it stops searching, and that none of it changes the output."""

import json
import os
from pathlib import Path

import pytest
import torch

from exactness import assert_equal_up_to_near_ties, near_ties
from methods.shared.errors import MethodError
from methods.shared.self_draft import self_draft, width
from methods.shared.skip_search import SkipSearch, odd_layers, plan_without
from models.plan import Plan
from models.sampling import Sampler
from slow_sequence import slow_sequence
from tiny import PROMPTS, batch_of, by_family, decode, decode_each, hf_generated, method_of, tiny_stack

NEW, DEPTH = 30, 6
# Searches from the sixth token on, and drafts further than a tiny random model would be sure of.
EAGER = {"context_window": 4, "draft_threshold": 0.0, "max_draft": 5, "bayes_interval": 7}
SHAPES = {"tree": {}, "chain": {"widths": [1, 1, 1, 1]}, "small": {"max_tree_nodes": 7}}


def stack_of(name):
    return tiny_stack(name, layers=DEPTH)


@pytest.mark.parametrize(("name", "shape"), by_family(((shape,) for shape in SHAPES), first="llama"))
def test_greedy_output_is_the_full_models(name, shape):
    stack = stack_of(name)
    full = decode_each(method_of("full", stack), new=NEW)
    method = method_of("swift", stack, **EAGER, **SHAPES[shape])
    got = [decode(method, [prompt], new=NEW).outputs[0] for prompt in PROMPTS]
    assert method.search.iteration > 0
    gaps = hf_generated(stack.model, PROMPTS, NEW).gaps
    assert_equal_up_to_near_ties(
        [
            (f"{name} {shape} {row}", got[row], one, [gap < 1e-4 for gap in gaps[row]])
            for row, one in enumerate(full.outputs)
        ]
    )


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(0.7),
        pytest.param(Sampler(1.0, top_p=0.9), marks=pytest.mark.slow),
        pytest.param(Sampler(1.0, top_k=20), marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", SHAPES)
def test_sampled_output_is_the_full_models(shape, sampler):
    stack = stack_of("llama")
    full = decode_each(method_of("full", stack), new=NEW, sampler=sampler)
    method = method_of("swift", stack, **EAGER, **SHAPES[shape])
    assert [decode(method, [p], new=NEW, sampler=sampler).outputs[0] for p in PROMPTS] == full.outputs


@pytest.mark.parametrize(
    "params", [{}, {"context_window": 29}, {"widths": [10, 10, 10, 10]}, {"max_draft": 12}], ids=str
)
def test_no_pass_goes_past_what_was_reserved(monkeypatch, params):
    stack, ends = stack_of("llama"), []
    run = type(stack).run
    monkeypatch.setattr(type(stack), "run", lambda *all: ends.append(all[3].length) or run(*all))
    method = method_of("swift", stack, **{**EAGER, **params})
    decode(method, PROMPTS[:1], new=NEW)
    assert max(ends) <= len(PROMPTS[0]) + NEW + method.scratch


def test_sets():
    """Six layers: attention of layers 1 to 4 are variables 0 to 3, their FFNs 4 to 7."""
    assert odd_layers(6) == [0, 2, 4, 6]
    assert plan_without([0, 2, 4, 6], 6) == Plan(*[(True, False, True, False, True, True)] * 2)
    assert plan_without([3, 5], 6) == Plan(
        (True, True, True, True, False, True), (True, True, False, True, True, True)
    )
    assert plan_without([], 6) == Plan.full(6)
    # The release's sets skip half of all sub-layers that may be skipped, whatever skip_ratio says.
    assert len(odd_layers(40)) == 38


def slow_draft(stack, tokens, skipped, depth):
    """Tokens and probabilities of a greedy draft by some sub-layers, behind tokens read in full."""
    sequence, plan = slow_sequence(stack.model), plan_without(skipped, DEPTH)
    sequence.read(tokens[:-1])
    drafted, probabilities, newest = [], [], tokens[-1]
    for ahead in range(depth):
        state = partly(sequence, plan, [newest], [len(tokens) - 1 + ahead])
        best = sequence.logits(state).softmax(-1).max(-1)
        newest = int(best.indices)
        drafted.append(newest)
        probabilities.append(float(best.values))
    return drafted, probabilities


def partly(sequence, plan, tokens, positions):
    """States of tokens through some sub-layers."""
    state = sequence.embed(tokens, positions)
    for layer in range(DEPTH):
        before = state
        if plan.attention[layer]:
            state = sequence.attention(layer, state, positions)
        if plan.ffn[layer]:
            state = sequence.after_ffn(layer, state, sequence.ffn_output(layer, state, before))
    return state


def prefilled(stack, prompt, new=20):
    batch, full = batch_of(stack, [prompt], new=new, scratch=64), method_of("full", stack)
    full.begin(batch)
    batch.accept(full.prefill(batch), fed=0)
    return batch, full


@pytest.mark.parametrize("name", by_family([()]))
@torch.inference_mode()
def test_a_draft_is_greedy_decoding_by_some_sub_layers(name):
    stack, skipped = stack_of(name), [1, 3, 4, 6]
    batch, _ = prefilled(stack, PROMPTS[0])
    draft = self_draft(batch, plan_without(skipped, DEPTH), 5, threshold=0.0, widths=(1, 1, 1, 1))
    wanted, _ = slow_draft(stack, PROMPTS[0] + batch.outputs[0], skipped, 5)
    assert draft.is_chain and list(draft.tokens) == wanted


@torch.inference_mode()
def test_a_draft_ends_with_the_first_unsure_token_and_grows_siblings():
    stack, skipped = stack_of("llama"), [1, 6]
    batch, _ = prefilled(stack, PROMPTS[0])
    tokens, sure = slow_draft(stack, PROMPTS[0] + batch.outputs[0], skipped, 5)
    plan, widths = plan_without(skipped, DEPTH), (1, 2, 3, 4)
    threshold = sorted(sure)[1] + 1e-4
    first = next(place for place, value in enumerate(sure) if value < threshold)
    draft = self_draft(batch, plan, 5, threshold=threshold, widths=widths)
    assert draft.depth == first + 1
    above, place = -1, 0
    for token, value in zip(tokens[: first + 1], sure, strict=False):
        siblings = width(value, widths)
        assert list(draft.parents[place : place + siblings]) == [above] * siblings
        assert draft.tokens[place] == token and len(set(draft.tokens[place : place + siblings])) == siblings
        above, place = place, place + siblings
    assert place == len(draft.tokens)
    assert len(self_draft(batch, plan, 5, threshold=0.0, widths=(4, 4, 4, 4), max_nodes=6).tokens) == 6


def test_widths_by_probability():
    assert [width(p, (3, 5, 8, 10)) for p in (0.99, 0.95, 0.9, 0.8, 0.6, 0.5, 0.1)] == [3, 5, 5, 8, 8, 10, 10]


@pytest.mark.parametrize("name", by_family([()]))
@torch.inference_mode()
def test_matchness_is_what_a_set_predicts_of_the_newest_tokens(name):
    """Teacher-forced: behind tokens read in full, the window's own K,V come from the set's states."""
    stack, window, skipped = stack_of(name), 6, [0, 3, 5, 6]
    method = method_of("swift", stack, context_window=window, search="on")
    batch, full = prefilled(stack, PROMPTS[0])
    for _ in range(10):
        batch.accept(full.decode(batch), fed=1)
    method.begin(batch)
    method.search.propose = lambda noise: (skipped, [0.0] * 8)
    before = stack.cache.blocks[:, :, :, :, : batch.slot].clone()
    method.score_one(batch, window)
    assert torch.equal(stack.cache.blocks[:, :, :, :, : batch.slot], before), "in scratch slots"

    everything = PROMPTS[0] + batch.outputs[0]
    sequence = slow_sequence(stack.model)
    first = len(everything) - 1 - window
    sequence.read(everything[:first])
    plan = plan_without(skipped, DEPTH)
    states = partly(sequence, plan, everything[first:-1], range(first, len(everything) - 1))
    predicted = [int(sequence.logits(state[None]).argmax()) for state in states]
    matched = sum(a == b for a, b in zip(predicted, everything[-window:], strict=True))
    assert method.search.scores == [matched / window]


def searching(**changed):
    settings = {"bayes_interval": 0, "max_score": 0.93, "max_tolerance": 3, "max_iterations": 50, **changed}
    return SkipSearch(8, 3, [0, 2, 4, 6], **settings)


class TestSearch:
    def test_a_better_set_is_taken_and_an_equal_one_is_not(self):
        search, noise = searching(), torch.Generator().manual_seed(0)
        kept = [search.chosen]
        for score in (0.0, 0.3, 0.3, 0.2, 0.5):
            proposed, point = search.propose(noise)
            assert (
                len(proposed) == 3 == sum(point) and [place for place in range(8) if point[place]] == proposed
            )
            search.report(proposed, point, score)
            kept.append(proposed if score in (0.5,) or (score, len(kept)) == (0.3, 2) else kept[-1])
            assert search.chosen == kept[-1]
        assert (search.best, search.iteration, search.tolerance) == (0.5, 5, 0)

    @pytest.mark.parametrize(
        ("changed", "scores", "trials"),
        [
            ({}, [0.5, 0.94], 2),
            ({}, [0.93] + [0.1] * 9, 5),
            ({"max_iterations": 2, "max_tolerance": 99}, [0.1] * 9, 3),
        ],
        ids=["good enough", "worn out", "too many"],
    )
    def test_it_ends(self, changed, scores, trials):
        search, noise = searching(**changed), torch.Generator().manual_seed(0)
        for score in scores:
            if search.stopped:
                break
            search.report(*search.propose(noise), score)
        assert search.iteration == trials and search.stopped

    def test_now_and_then_a_bayesian_step(self):
        """Sets without variable 0 score well: the process finds that out."""
        search, noise = searching(bayes_interval=25, max_tolerance=999, max_iterations=999), torch.Generator()
        noise.manual_seed(1)
        bayesian = []
        for trial in range(1, 101):
            proposed, point = search.propose(noise)
            if set(point) - {0.0, 1.0}:
                bayesian.append((trial, proposed))
                assert proposed == sorted(sorted(range(8), key=lambda place: -point[place])[:3])
            search.report(proposed, point, 0.2 if 0 in proposed else 0.8)
        assert [trial for trial, _ in bayesian] == [25, 50, 75, 100]
        assert all(0 not in proposed for _, proposed in bayesian)

    def test_goes_on_where_it_was(self):
        whole, noise = searching(bayes_interval=5, max_tolerance=99), torch.Generator().manual_seed(2)
        parted = searching(bayes_interval=5, max_tolerance=99)
        for trial in range(20):
            found = whole.propose(noise)
            whole.report(*found, 0.1 + 0.02 * sum(found[0]))
            if trial == 9:
                parted.load_state(json.loads(json.dumps(whole.state())))
                behind = torch.Generator()
                behind.set_state(noise.get_state())
            elif trial > 9:
                parted.report(*parted.propose(behind), 0.1 + 0.02 * sum(found[0]))
        assert parted.state() == whole.state() and whole.iteration == 20


def test_the_search_survives_a_restart_between_two_answers():
    stack = stack_of("llama")
    whole = method_of("swift", stack, **EAGER)
    first = decode(whole, PROMPTS[:1], new=NEW)
    state = json.loads(json.dumps(whole.state()))
    second = decode(whole, PROMPTS[1:2], new=NEW)
    again = method_of("swift", stack, **EAGER)
    again.load_state(state)
    assert decode(again, PROMPTS[1:2], new=NEW).calls == second.calls and first.calls
    assert again.state() == whole.state() and whole.search.iteration > state["iteration"] > 0


@pytest.mark.parametrize("params", [{"search": "off"}, {"search": "frozen", "skipped": [1, 5]}], ids=str)
def test_without_a_search_the_set_stays(params):
    stack = stack_of("llama")
    method = method_of("swift", stack, **{**EAGER, **params})
    decode(method, PROMPTS[:1], new=NEW)
    assert method.search.chosen == params.get("skipped", odd_layers(DEPTH)) and not method.search.scores
    assert not stack.counters.tally("searched").runs.any() and method.columns(0)["search_s"] == 0


def test_what_it_did_is_counted_apart():
    stack = stack_of("llama")
    method = method_of("swift", stack, search="frozen", skipped=[0, 1, 4], draft_threshold=0.0, max_draft=4)
    decode(method, PROMPTS[:1], new=NEW)
    columns, drafted = method.columns(0), method.columns(0)["drafted"]
    assert sum(columns["accepted_lengths"]) == NEW - 1 and columns["accepted"] <= drafted
    assert columns["draft_attention_run"] == drafted * (DEPTH - 2)
    assert columns["draft_ffn_run"] == drafted * (DEPTH - 1)
    assert columns["draft_total"] == drafted * 2 * DEPTH
    assert not stack.counters.tally("final").runs.any()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"skip_ratio": 0.1}, "leaves out none of 8"),
        ({"search": "frozen"}, "frozen takes a set"),
        ({"skipped": [1]}, "frozen takes a set"),
        ({"search": "frozen", "skipped": [1, 1]}, "different numbers from 0 to 7"),
        ({"search": "frozen", "skipped": [8]}, "different numbers from 0 to 7"),
    ],
)
def test_sets_that_cannot_be(params, said):
    with pytest.raises(MethodError, match=said) as error:
        method_of("swift", stack_of("llama"), **params)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_smollm_equals_the_full_model(smollm, smollm_prompts):
    check_real(smollm.stack, smollm_prompts[:1], 20, context_window=8)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_full_model_on_real_models(real, shape):
    check_real(real.stack, real.prompts, 64, **SHAPES[shape])


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["tree", "chain"])
def test_equals_the_full_model_on_mt_bench(smollm, shape):
    """First turns of FastChat's question.jsonl, where $SKIPBENCH_DATA has mt_bench/question.jsonl."""
    file = Path(os.environ.get("SKIPBENCH_DATA", "nowhere")) / "mt_bench/question.jsonl"
    if not file.is_file():
        pytest.skip("SKIPBENCH_DATA has no mt_bench/question.jsonl")
    prompts = []
    for line in file.read_text(encoding="utf-8").splitlines():
        chat = [{"role": "user", "content": json.loads(line)["turns"][0]}]
        ids = smollm.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        prompts.append(list(ids))
    check_real(smollm.stack, prompts, 64, **SHAPES[shape])


def check_real(stack, prompts, new, **params):
    full = decode_each(method_of("full", stack), prompts, new=new)
    method, cases = method_of("swift", stack, **params), []
    for row, (prompt, wanted) in enumerate(zip(prompts, full.outputs, strict=True)):
        got, near = decode(method, [prompt], new=new).outputs[0], [False] * new
        if got != wanted:
            near = near_ties(hf_generated(stack.model, [prompt], new).gaps[0])
        cases.append((f"prompt {row}", got, wanted, near))
    assert_equal_up_to_near_ties(cases)
