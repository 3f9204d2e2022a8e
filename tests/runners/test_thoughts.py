"""Reasoning models: thoughts apart from answers, never scored, counted, and cut off is not wrong."""

from types import SimpleNamespace

import pytest
import torch
from tiny_model import TEMPLATE, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.errors import ModelError
from runners.decoding import Decoding
from runners.local_judge import said_by
from runners.metrics import summarise
from runners.scoring import CUT_OFF, is_cut_off, scored
from runners.thoughts import MARKS, answer_in, thoughts_of
from runners.verdict import sentences
from tasks import registry as tasks


def characters(text):
    return [ord(character) for character in text]


def decode(ids):
    return "".join(map(chr, ids))


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_every_kind_of_mark(opening, closing):
    def told(output, prompt=""):
        return thoughts_of(characters(output), prompt, decode)

    whole = f"{opening}\nFour?\n{closing}\n\nFive."
    found = told(whole)
    assert (found.text, found.ended, found.rest) == ("Four?", True, "")
    assert whole[found.tokens :] == "\n\nFive."
    # Opened by the template, or by nobody.
    for prompt in (f"Hello{opening}\n", "Hello"):
        found = told(f"Four?{closing}Five.", prompt)
        assert (found.text, found.ended, found.tokens) == ("Four?", True, len(f"Four?{closing}"))
    # Cut off.
    for output, prompt in ((f" {opening}Four", ""), ("Four", f"Hello{opening}\n")):
        found = told(output, prompt)
        assert (found.text, found.ended, found.tokens) == ("Four", False, len(output))


@pytest.mark.parametrize(
    ("output", "prompt"),
    [
        ("Five.", ""),
        ("", ""),
        # The template has closed them: enable_thinking=false.
        ("Five.", "Hello<think>\n\n</think>\n\n"),
        ("The tag <think> opens thoughts.", ""),
        ("Between <think> and </think> it thinks.", ""),
    ],
)
def test_answers_without_thoughts(output, prompt):
    assert thoughts_of(characters(output), prompt, decode) is None


def test_a_last_token_that_says_more_than_the_mark():
    pieces = ["<think>", "Four?", "</think>Fi", "ve."]
    found = thoughts_of(range(4), "", lambda ids: "".join(pieces[index] for index in ids))
    assert (found.text, found.tokens, found.rest) == ("Four?", 3, "Fi")


def test_another_kind_of_mark_within_thoughts():
    text = "<reasoning>Is it </think>?</reasoning>Five."
    found = thoughts_of(characters(text), "", decode)
    assert (found.text, text[found.tokens :]) == ("Is it </think>?", "Five.")


@pytest.mark.parametrize(
    ("output", "asked", "said"),
    [
        ("[[7]]", "Grade:", "[[7]]"),
        # Cut off: the grade that is weighed is none.
        ("A [[7]]?", "Grade:<think>\n", ""),
        ("A [[7]]?</think>[[3]]", "Grade:<think>\n", "[[3]]"),
        ("[THINK]A [[7]]?[/THINK][[3]]$", "Grade:", "[[3]]"),
        ("[THINK]A [[7]]?", "Grade:", ""),
    ],
)
def test_the_thoughts_of_a_local_judge(output, asked, said):
    def spoken(ids, skip_special_tokens=False):
        return (
            decode(ids).replace("[THINK]", "").replace("[/THINK]", "") if skip_special_tokens else decode(ids)
        )

    model = SimpleNamespace(tokenizer=SimpleNamespace(decode=spoken), eos=frozenset([ord("$")]))
    assert answer_in(said_by(model, characters(output), asked)) == said


def test_a_line_of_thoughts_is_no_end_of_an_answer():
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens=False: decode(ids))
    model = SimpleNamespace(tokenizer=tokenizer, eos=frozenset())
    decoding = Decoding(model, sampler=None, seed=0, max_new_tokens=99, stop_strings=("\n",))
    whole = "<think>\nFour?\nNo.\n</think>\n\nFive.\nQ: Who?"
    ends = [length for length in range(len(whole)) if decoding._stopped(0, characters(whole[:length]))]
    assert whole[: ends[0]] == whole.removesuffix("Q: Who?")
    assert decoding._stopped(0, characters("Five.\n")) and not decoding._stopped(0, characters("Five."))
    answered = characters(whole[: ends[0]])
    assert decoding.text(answered, decoding.thoughts(answered, "")) == "Five."


def row(text, thoughts, finish, count, length):
    return {
        "output_text": text,
        "output_ids": list(range(length)),
        "finish_reason": finish,
        "thoughts": thoughts,
        "thought_tokens": count,
        "reference": ["Paris"],
        "prompt": "Which city?",
        "question": "Which city?",
        "turn": 0,
        "example_id": f"{text}{finish}{count}",
        "output_tokens": length,
    }


def test_cut_off_is_no_attempt():
    task = tasks.create("factoidqa")
    rows = [
        row("Paris.", "Lyon?", "eos", 10, 13),
        row("Lyon.", "Paris?", "eos", 10, 13),
        row("", "Paris, I think", "length", 20, 20),
        # The mark and the blank line behind it were the last that fitted.
        row("\n", "Paris, I think", "length", 19, 20),
        # It ended by itself and said nothing.
        row("", "Paris, I think", "eos", 20, 21),
    ]
    rows = [one | scored(task, one) for one in rows]
    assert [one["outcome"] for one in rows] == ["correct", "wrong", CUT_OFF, CUT_OFF, "collapsed"]
    assert [one["collapsed"] for one in rows] == [False, False, False, False, True]
    assert [is_cut_off(one) for one in rows] == [False, False, True, True, False]
    metrics = summarise(rows, {"baseline": "none"})
    assert metrics["quality"] == 0.2 and metrics["hallucination_rate"] == 0.5
    assert metrics["cut_off_rate"] == 0.4 and metrics["thought_share"] == pytest.approx(79 / 87)
    assert metrics["full_cut_off_rate"] is None
    assert any("40% of the answers were cut off within their thoughts" in line for line in sentences(metrics))
    plain = summarise([one | {"thoughts": None, "thought_tokens": None} for one in rows], {})
    assert plain["thought_share"] is None and plain["cut_off_rate"] is None


def test_thoughts_that_loop_are_degenerate():
    looping = row("", "no no no", "length", 30, 30) | {"output_ids": [7] * 30}
    assert scored(tasks.create("factoidqa"), looping)["collapsed"] is True


THINKS = TEMPLATE.replace(
    "<assistant>", "<assistant>{% if enable_thinking is not defined %}<think>{% endif %}"
)


@pytest.fixture
def thinking(bench, tmp_path):
    """A model that opens its thoughts by its template, and now and then closes them."""
    folder = tmp_path / "thinks"
    save_model(folder)
    model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    tokenizer.add_tokens(["</think>"])
    model.resize_token_embeddings(len(tokenizer))
    with torch.no_grad():
        # Next to the token that begins a line, so that it comes up.
        model.lm_head.weight[-1] = model.lm_head.weight[tokenizer.convert_tokens_to_ids("Ċ")] * 1.2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(THINKS)
    bench.model = folder
    return bench


def test_a_run_of_a_model_that_thinks(thinking):
    given = ("method=random_ffn", "method.share=0.3", "limit=12", "max_new_tokens=24")
    rows = thinking.rows(*given)
    assert all(one["thoughts"] is not None and one["full_thoughts"] is not None for one in rows)
    ended = [one for one in rows if one["thought_tokens"] < len(one["output_ids"])]
    assert 0 < len(ended) < len(rows), "some close their thoughts, some do not"
    for one in rows:
        assert "</think>" not in one["output_text"] and "</think>" not in one["thoughts"]
        if one not in ended and one["finish_reason"] == "length":
            assert (one["outcome"], one["output_text"]) == (CUT_OFF, "")
    metrics = thinking.run(*given).metrics
    assert 0 < metrics["cut_off_rate"] < 1 and 0 < metrics["thought_share"] < 1

    off = (*given, "model.chat_template_kwargs={enable_thinking:false}")
    other = thinking.run(*off)
    assert (
        other.metrics["run_id"] != metrics["run_id"] and other.metrics["conditions"] != metrics["conditions"]
    )
    # The closing mark alone is a mark.
    rows = thinking.rows(*off)
    assert not any(one["prompt"].endswith("<think>") for one in rows)
    assert any(one["thoughts"] is None for one in rows)
    reused = thinking.rows(*given[:-2], "max_new_tokens=24", "limit=12", "seed=0")
    assert reused


def test_a_later_turn_does_not_see_the_thoughts(thinking, tmp_path):
    talks = tmp_path / "talks.jsonl"
    talks.write_text(
        "\n".join(
            f'{{"id": "t{n}", "category": "math", "turns": ["Say {n}?", "And then?"]}}' for n in range(9)
        )
    )
    source = ("task=mtbench", "task.source=file", f"task.path={talks}", "max_new_tokens=16", "limit=null")
    rows = thinking.rows("method=full", "runner.baseline=none", *source)
    first = {one["example_id"]: one for one in rows if one["turn"] == 0}
    for one in rows:
        if one["turn"] == 1:
            said = first[one["example_id"]]["output_text"]
            assert f"<assistant>{said}\n<user>And then?" in one["prompt"]


def test_an_option_that_the_template_does_not_take(bench):
    with pytest.raises(ModelError, match="enable_thinking has no effect: the chat template does not name it"):
        bench.run("method=full", "runner.baseline=none", "model.chat_template_kwargs={enable_thinking:false}")


def test_a_judge_that_weighs_other_grades_first():
    assert answer_in("<think>[[3]]? [[9]]?</think>Rating: [[7]]") == "Rating: [[7]]"
    assert answer_in("Rating: [[7]]") == "Rating: [[7]]"
    assert answer_in("<think>[[3]]? [[9]]?") == ""
