"""Models that are broken, too large, or unlike most: a right answer or a clear line, never silent garbage."""

from types import SimpleNamespace

import pytest
import torch
from bench import rows_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.errors import ModelError
from models.sampling import Sampler, best_tokens, generator
from runners.decoding import Decoding
from runners.errors import RunError
from runners.halving import fitted_rows, if_it_fits
from runners.pair import Pair
from runners.verdict import sentences

NO_NUMBERS = r"logits are (infinite or )?no numbers.*dtype=float16 overflows"


@pytest.fixture
def altered(bench, tmp_path):
    """A copy of the tiny model, changed by a function; the bench runs it."""

    def alter(change):
        folder = tmp_path / "altered"
        model = AutoModelForCausalLM.from_pretrained(bench.model)
        tokenizer = AutoTokenizer.from_pretrained(bench.model)
        with torch.no_grad():
            change(model, tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        bench.model = folder
        return bench

    return alter


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["full", "ffnskip", "hf_generate", "prompt_lookup"])
def test_broken_weights_are_told(altered, method, value):
    def break_one(model, _):
        model.model.layers[1].mlp.down_proj.weight[3, 3] = value

    bench = altered(break_one)
    with pytest.raises((ModelError, RunError), match=NO_NUMBERS) as refusal:
        bench.run(f"method={method}", "runner.baseline=none", "limit=1", "max_new_tokens=4")
    assert "\n" not in str(refusal.value)


def test_weights_that_are_broken_for_one_example_alone(altered, bench):
    """The warm-up does not meet it, and `generate` chooses from whatever it gets."""
    asked = ("method=hf_generate", "runner.baseline=none", "limit=4", "max_new_tokens=4")
    tokenizer = AutoTokenizer.from_pretrained(bench.model)
    first, *others = (set(tokenizer(row["prompt"])["input_ids"]) for row in bench.rows(*asked))
    (*_, odd) = set.union(*others) - first

    def break_one(model, _):
        model.model.embed_tokens.weight[odd] = float("nan")

    with pytest.raises(RunError, match=r"^example .*: the full model's logits are no numbers"):
        altered(break_one).run(*asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(0.7), Sampler(1.0, 5), Sampler(1.0, None, 0.5)])
def test_no_token_is_chosen_from_what_is_no_number(sampler, value):
    logits = torch.randn(2, 10)
    sampler.sample(logits, [generator(0, "a", 0), generator(0, "b", 0)])
    logits[1, 4] = value
    with pytest.raises(ModelError, match=NO_NUMBERS):
        sampler.sample(logits, [generator(0, "a", 0), generator(0, "b", 0)])


def test_masked_tokens_are_no_error():
    assert best_tokens(torch.tensor([[-torch.inf, 1.0, -torch.inf], [2.0, 2.0, 0.0]])) == [1, 0]
    assert best_tokens(torch.zeros(0, 3)) == []
    with pytest.raises(ModelError, match=NO_NUMBERS):
        best_tokens(torch.full((1, 3), -torch.inf))


def out_of_memory_above(monkeypatch, most, error):
    """Let batches of more than so many examples run out of memory, after they were answered."""
    ask, sizes = Pair.rows, []

    def asked(pair, examples, number):
        sizes.append(len(examples))
        rows = ask(pair, examples, number)
        if len(examples) > most:
            raise error
        return rows

    monkeypatch.setattr(Pair, "rows", asked)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_once_and_told(bench, monkeypatch, error):
    settings = ("limit=6", "batch_size=3", "max_new_tokens=8")
    wanted = {row["example_id"]: row["output_ids"] for row in bench.rows(*settings, "seed=1")}
    sizes = out_of_memory_above(monkeypatch, 2, error)
    finished = bench.run(*settings, "seed=1", "force=true")
    assert sizes == [3, 2, 1, 3, 2, 1]
    assert finished.metrics["halved_batches"] == 2
    assert any("2 batches did not fit into memory" in sentence for sentence in sentences(finished.metrics))
    rows = bench.rows(*settings, "seed=1")
    assert {row["example_id"]: row["output_ids"] for row in rows} == wanted
    assert sorted(row["batch"] for row in rows) == [0, 0, 0, 1, 1, 1]


def test_a_method_that_learns_forgets_a_batch_that_did_not_fit():
    learned = []
    method = SimpleNamespace(
        state=lambda: list(learned), load_state=lambda state: learned.__setitem__(slice(None), state)
    )

    def rows(examples, number):
        learned.extend(examples)
        if len(examples) > 1:
            raise MemoryError
        return [{"example": example} for example in examples]

    fitted = fitted_rows(SimpleNamespace(method=method, rows=rows), ["a", "b"], 0)
    assert fitted.halved and learned == ["a", "b"]


def memory_for(monkeypatch, most, error):
    """Let every batch of more rows fail where it is decoded."""
    run = Decoding.run

    def limited(self, method, prompts, *rest, **more):
        if len(prompts) > most:
            raise error
        return run(self, method, prompts, *rest, **more)

    monkeypatch.setattr(Decoding, "run", limited)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_way_to_run_out_of_memory(error):
    def work():
        raise error

    assert if_it_fits(2, work) is None
    with pytest.raises(RunError, match="out of memory with 1 examples"):
        if_it_fits(1, work)


@pytest.mark.slow
def test_memory_that_runs_out_while_warming_up(bench, monkeypatch):
    error = RuntimeError("CUDA error: out of memory")
    settings = ("limit=6", "batch_size=3", "max_new_tokens=4", "runner.baseline=none")
    wanted = {row["example_id"]: row["output_ids"] for row in bench.rows(*settings)}
    memory_for(monkeypatch, 2, error)
    finished = bench.run(*settings, "force=true")
    assert finished.metrics["halved_batches"] == 2
    assert {row["example_id"]: row["output_ids"] for row in rows_of(finished)} == wanted
    memory_for(monkeypatch, 1, error)
    with pytest.raises(RunError, match="out of memory with 2 examples at a time") as refusal:
        bench.run(*settings, "force=true")
    assert "\n" not in str(refusal.value)


def test_memory_that_runs_out_while_solving(bench, monkeypatch):
    memory_for(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(RunError, match="out of memory with 20 examples"):
        bench.run("method=random_ffn", "method.target_skip=0.2")


def test_halved_batches_are_remembered_by_a_resumed_run(bench, monkeypatch):
    settings = ("limit=6", "batch_size=3", "max_new_tokens=4", "runner.baseline=none")
    with monkeypatch.context() as patched:
        out_of_memory_above(patched, 2, torch.OutOfMemoryError("CUDA out of memory."))
        bench.interrupted(patched, 3, *settings)
    assert bench.run(*settings).metrics["halved_batches"] == 1


@pytest.mark.parametrize(
    ("size", "said"), [(1, "with 1 examples .* max_prompt_tokens"), (4, "with 2 .* lower batch_size")]
)
def test_what_does_not_fit_in_halves_either_is_one_line(bench, monkeypatch, size, said):
    out_of_memory_above(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory.\nTried to"))
    with pytest.raises(RunError, match=f"^out of memory {said}") as refusal:
        bench.run(f"batch_size={size}")
    assert "\n" not in str(refusal.value)


def test_another_failure_is_not_taken_for_memory(bench, monkeypatch):
    out_of_memory_above(monkeypatch, 0, RuntimeError("shapes disagree"))
    with pytest.raises(RuntimeError, match="shapes disagree"):
        bench.run("batch_size=2")


def test_no_chat_template(altered):
    def forget(_, tokenizer):
        tokenizer.chat_template = None

    bench = altered(forget)
    (bench.model / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(RunError, match="the model has no chat template; choose a model that has one"):
        bench.run()
    # What is advised is possible with every task.
    with pytest.raises(RunError, match=r"or task=factoidqa with task\.prompt=fewshot"):
        bench.run("task=summarization")
    assert len(bench.rows("task.prompt=fewshot", "limit=2")) == 2


def test_no_end_of_sequence(altered):
    def forget(model, tokenizer):
        tokenizer.eos_token = None
        model.config.eos_token_id = model.generation_config.eos_token_id = None

    rows = altered(forget).rows("limit=3", "method=ffnskip", "method.threshold=0.9")
    assert {row["finish_reason"] for row in rows} <= {"length", "stop"}
    assert all(row["output_text"] is not None for row in rows)


def test_tied_weights(altered):
    def tie(model, _):
        model.config.tie_word_embeddings = True
        model.lm_head.weight = model.model.embed_tokens.weight

    bench = altered(tie)
    fused = [row["output_ids"] for row in bench.rows("runner.baseline=none")]
    plain = [row["output_ids"] for row in bench.rows("runner.baseline=none", "method=hf_generate")]
    assert fused == plain


def test_a_vocabulary_padded_beyond_the_tokenizer(altered):
    def pad(model, tokenizer):
        model.resize_token_embeddings(len(tokenizer) + 7)
        # Sometimes the padding wins; no text belongs to it.
        model.lm_head.weight[-7:] = model.lm_head.weight[20:27] * 1.1

    bench = altered(pad)
    rows = bench.rows("runner.baseline=none", "limit=6")
    produced = {token for row in rows for token in row["output_ids"]}
    assert max(produced) >= len(AutoTokenizer.from_pretrained(bench.model))
    assert all(isinstance(row["output_text"], str) for row in rows)


def test_an_answer_that_would_cross_the_switch_of_longrope(altered):
    """Its keys would be turned by two lists of factors: `generate` alone computes them anew."""

    def stretch(model, _):
        model.config.rope_parameters = {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [4.0] * 8,
            "original_max_position_embeddings": 120,
            "factor": 8.0,
        }

    bench = altered(stretch)
    given = (
        "method=full",
        "runner.baseline=none",
        "limit=6",
        "max_new_tokens=24",
        "runner.fixed_length=true",
    )
    with pytest.raises(RunError, match=r"tokens, 96 fit \(longrope changes at 120, within the answer\)"):
        bench.run(*given)
    for row in bench.rows(*given, "on_overflow=truncate"):
        assert row["prompt_tokens"] <= 96 or row["prompt_tokens"] > 121
    bench.rows(*given, "max_prompt_tokens=96", "on_overflow=truncate")
