"""What the settings of a run do to its outputs, and what they must not do."""

import pytest
import torch
from bench import rows_of
from transformers import AutoModelForCausalLM, AutoTokenizer

METHODS = [
    ("method=full",),
    ("method=ffnskip", "method.threshold=0.92", "method.warmup_tokens=1"),
    ("method=ffnskip", "method.threshold=0.92", "method.skip_span=1"),
    ("method=random_ffn", "method.share=0.5"),
    ("method=static_ffn", "method.count=2"),
]


@pytest.fixture(scope="module")
def reference(tiny_model):
    """The tiny model as transformers has it."""
    return AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)


def outputs(rows):
    return {row["example_id"]: row["output_ids"] for row in rows}


@pytest.mark.parametrize("method", METHODS, ids=" ".join)
def test_a_batch_changes_nothing_but_times(bench, method):
    own = ("output_ids", "output_text", "finish_reason", "attention_run", "ffn_run", "ffn_run_by_layer")
    counted = (*own, "attention_total", "ffn_total", "skipped_steps", "prompt_tokens", "quality")
    one, four = (bench.rows(*method, "limit=10", f"batch_size={size}") for size in (1, 4))
    assert [row["batch"] for row in four] == [0] * 4 + [1] * 4 + [2] * 2
    for row, other in zip(one, four, strict=True):
        assert {name: row[name] for name in counted} == {name: other[name] for name in counted}
        assert row["full_logprob"] == pytest.approx(other["full_logprob"], abs=1e-4)
        assert row["full_output_ids"] == other["full_output_ids"]
    if method != METHODS[0]:
        assert sum(row["ffn_run"] for row in one) < sum(row["ffn_total"] for row in one)


@pytest.mark.parametrize("method", METHODS[:2], ids=" ".join)
@pytest.mark.parametrize("size", [1, 3])
def test_token_0_can_be_the_methods(bench, method, size):
    usual = bench.rows(*METHODS[0], f"batch_size={size}", "limit=6")
    held = bench.rows(*method, f"batch_size={size}", "limit=6", "runner.first_token=method")
    for row, same in zip(held, usual, strict=True):
        # Both sides decode so, and the full model's output does not depend on where token 0 comes from.
        assert row["full_output_ids"] == same["output_ids"]
        assert len(row["step_s"]) == row["output_tokens"] == len(row["output_ids"])
        assert row["attention_total"] == row["attention_run"] == 3 * row["output_tokens"]


def test_fixed_length(bench):
    free = bench.rows("limit=8", "task.prompt=fewshot")
    rows = bench.rows("limit=8", "task.prompt=fewshot", "runner.fixed_length=true")
    assert min(row["output_tokens"] for row in free) < 24
    for row, short in zip(rows, free, strict=True):
        assert (row["output_tokens"], row["full_output_tokens"], row["finish_reason"]) == (24, 24, "length")
        assert row["output_ids"][: short["output_tokens"]] == short["output_ids"]


def test_stop_string_ends_an_answer(bench, reference):
    _, tokenizer = reference
    rows = bench.rows("limit=24", "task.prompt=fewshot", "runner.baseline=none")
    stopped = [row for row in rows if row["finish_reason"] == "stop"]
    assert stopped and len(stopped) < len(rows)
    for row in rows:
        assert row["stop_strings"] == ["\n"] and "\n" not in row["output_text"]
        text = tokenizer.decode(row["output_ids"], skip_special_tokens=True)
        assert ("\n" in text) == (row["finish_reason"] == "stop")
        assert "\n" not in tokenizer.decode(row["output_ids"][:-1])
        assert text.startswith(row["output_text"])
    assert all(row["stop_strings"] == [] for row in bench.rows("limit=1"))


def test_ends_of_answers(bench, reference):
    _, tokenizer = reference
    rows = bench.rows("limit=12", "runner.baseline=none")
    assert {row["finish_reason"] for row in rows} == {"eos", "length"}
    for row in rows:
        ended = row["finish_reason"] == "eos"
        assert (row["output_ids"][-1] == tokenizer.eos_token_id) == ended
        assert tokenizer.eos_token_id not in row["output_ids"][:-1]
        assert row["output_tokens"] == len(row["output_ids"]) <= 24
        assert ended or row["output_tokens"] == 24
        kept = row["output_ids"][:-1] if ended else row["output_ids"]
        assert row["output_text"] == tokenizer.decode(kept)


@pytest.mark.parametrize("size", [1, 4])
def test_log_probability_under_the_full_model(bench, reference, size):
    model, tokenizer = reference
    finished = bench.run("method=static_ffn", "method.count=2", f"batch_size={size}", "limit=6")
    for row in rows_of(finished):
        prompt = tokenizer(row["prompt"])["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + row["output_ids"]])).logits[0, len(prompt) - 1 : -1]
        target = torch.tensor(row["output_ids"])[:, None]
        expected = logits.log_softmax(-1).gather(1, target).mean().item()
        assert row["full_logprob"] == pytest.approx(expected, abs=2e-4)


class TestSampling:
    sampled = ("temperature=1.2", "top_k=50", "top_p=0.95")

    def test_the_same_again(self, bench, tmp_path):
        first = bench.rows(*self.sampled)
        again = bench.rows(*self.sampled, f"results_dir={tmp_path / 'again'}")
        assert outputs(first) == outputs(again)
        assert outputs(first) == {row["example_id"]: row["full_output_ids"] for row in first}

    def test_another_seed_and_no_seed_at_all(self, bench):
        first = outputs(bench.rows(*self.sampled))
        assert all(first[name] != ids for name, ids in outputs(bench.rows(*self.sampled, "seed=1")).items())
        assert all(first[name] != ids for name, ids in outputs(bench.rows()).items())

    def test_neither_batch_nor_number_of_examples_matters(self, bench):
        first = outputs(bench.rows(*self.sampled))
        assert outputs(bench.rows(*self.sampled, "batch_size=4")) == first
        larger = outputs(bench.rows(*self.sampled, "limit=7", "batch_size=3"))
        assert {name: larger[name] for name in first} == first

    def test_the_most_probable_token_alone_is_greedy(self, bench):
        assert outputs(bench.rows("temperature=2", "top_k=1")) == outputs(bench.rows())


def test_a_plain_text_that_does_not_fit_loses_its_beginning(bench):
    style = ("task.prompt=fewshot", "runner.baseline=none")
    whole = bench.rows(*style)
    cut = bench.rows(*style, "max_prompt_tokens=40", "on_overflow=truncate")
    for row, full in zip(cut, whole, strict=True):
        # One token a byte.
        assert (row["prompt_tokens"], row["truncated"], full["truncated"]) == (40, True, False)
        assert row["prompt"] == full["prompt"][-40:] and row["prompt_sha256"] != full["prompt_sha256"]
        assert row["source_sha256"] == full["source_sha256"]
    fits = bench.rows(*style, "max_prompt_tokens=900", "on_overflow=truncate")
    assert [row["output_ids"] for row in fits] == [row["output_ids"] for row in whole]


def test_half_precision(bench):
    finished = bench.run("dtype=bfloat16", "method=ffnskip", "method.threshold=0.9")
    assert finished.metrics["dtype"] == "bfloat16" and finished.metrics["realised_skip_ffn"] > 0


def test_what_a_run_leaves_in_the_cache_does_not_stop_the_next(bench):
    """Caches made in inference mode cannot be written outside it, where calibration once ran."""
    bench.run("limit=16", "max_new_tokens=40", "batch_size=16")
    rows = bench.rows("method=static_ffn", "method.count=1")
    assert all(row["ffn_run"] < row["ffn_total"] for row in rows)


def test_replay_of_the_full_model_agrees_with_itself_where_nothing_is_skipped(bench):
    metrics = bench.run("method=random_ffn", "method.share=0.0", "runner.replay=true").metrics
    assert metrics["replay_agreement"] == 1 and metrics["replay_kl"] == pytest.approx(0, abs=1e-6)
    skipping = bench.run("method=random_ffn", "method.share=1.0", "runner.replay=true").metrics
    assert skipping["replay_agreement"] < 1 and skipping["replay_kl"] > 0.01
