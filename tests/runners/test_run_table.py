"""The comparison a newcomer reads: what stands in it, how it fits, and what its sentences claim."""

import io
import json
import re

import pytest

from runners.notices import printable
from runners.schema import metrics_record
from runners.table import comparison, show
from runners.verdict import sentences


def record(**values):
    given = {
        "model": "smol",
        "task": "factoidqa",
        "source": "embedded",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 1,
        "method": "ffnskip",
        "method_params": json.dumps({"threshold": None, "cold_start": 0.15}),
        "solved_parameter": "threshold",
        "solved_value": 0.94312,
        "baseline": "paired",
        "lossless": False,
        "quality_metric": "contains_alias",
        "quality": 0.412,
        "quality_lo": 0.35,
        "quality_hi": 0.47,
        "full_quality": 0.431,
        "quality_delta": -0.019,
        "quality_delta_lo": -0.04,
        "quality_delta_hi": 0.003,
        "quality_p": 0.0412,
        "quality_mde": 0.031,
        "hallucination_rate": 0.503,
        "full_hallucination_rate": 0.487,
        "new_hallucination_rate": 0.05,
        "tokens_per_s": 61.23,
        "full_tokens_per_s": 50.1,
        "speedup": 1.222,
        "speedup_lo": 1.19,
        "speedup_hi": 1.25,
        "efficiency": 1.034,
        "realised_skip_ffn": 0.2,
        "realised_skip_attention": 0.0,
        "examples": 1200,
    }
    return metrics_record({**given, **values})


def cells(text, label):
    """The cells of the first table row with this label."""
    [line, *_] = [line for line in text.splitlines() if line.strip().startswith(label)]
    return re.split(r"\s{2,}", line.strip())[1:]


def test_full_model_and_method_stand_side_by_side():
    text = comparison([record()])
    assert cells(text, "quality (contains_alias)") == ["0.431", "0.412"]
    assert cells(text, "difference to full") == ["-0.019"]
    assert "[-0.040, +0.003]" in text and "[1.19, 1.25]" in text and "p = 0.041" in text
    assert cells(text, "detectable from") == ["0.031"]
    assert cells(text, "new hallucinations") == ["5.0 %"]
    assert cells(text, "wrong ÷ attempted") == ["48.7 %", "50.3 %"]
    assert cells(text, "decode tokens/s") == ["50.1", "61.2"]
    assert cells(text, "decode speedup") == ["1×", "1.22×"]
    assert cells(text, "efficiency") == ["103 %"]
    assert cells(text, "realised skip, attention") == ["0.0 %"]
    assert cells(text, "examples") == ["1,200"]
    assert "ffnskip" in text and "threshold=0.9431" in text


def test_what_is_unknown_is_a_dash_and_never_a_zero():
    text = comparison([record()])
    for label in (
        "collapsed",
        "end-to-end speedup",
        "ideal speedup",
        "skip asked for",
        "repaired hallucinations",
    ):
        assert cells(text, label)[-1] == "–"
    assert "draft skip" not in text
    assert cells(comparison([record(draft_skip=0.45)]), "draft skip") == ["45.0 %"]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_everything_fits_and_nothing_is_cut_off(width, count):
    methods = [f"method_{n}" for n in range(count)]
    text = comparison([record(method=method) for method in methods], width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text and "\x1b" not in text
    assert text.count("threshold=0.9431") >= count
    assert all(re.search(rf"{method}\b", text) for method in methods)
    tables = text.count("───\n")
    assert tables == text.count("full model    ") and (tables == 1) == (count == 1 or (count, width) in FIT)


FIT = {(2, 80), (2, 120)}


def test_long_names_take_more_lines_instead_of_being_cut():
    metric, parameter = "share_of_answers_that_contain_an_alias", "a_parameter_with_a_very_long_name"
    text = comparison([record(quality_metric=metric, solved_parameter=parameter)])
    assert max(map(len, text.splitlines())) <= 80
    assert metric not in text and metric in re.sub(r"\s|[\d.]", "", text).replace("[,]", "")
    assert f"{parameter}=0.9431" in text.replace("\n", "").replace(" ", "")


def test_models_and_tasks_get_a_table_each():
    text = comparison([record(), record(task="mtbench"), record(method="swift")])
    titles = [line for line in text.splitlines() if line.startswith("smol · ")]
    assert [title.split(" · ")[1] for title in titles] == ["factoidqa (embedded)", "mtbench (embedded)"]
    assert text.index("swift") < text.index("mtbench")


def test_without_a_baseline_there_is_no_column_for_it():
    bare = {name: value for name, value in record(baseline="none").items() if not name.startswith("full_")}
    text = comparison([bare])
    assert "full model  " not in text and cells(text, "decode tokens/s") == ["61.2"]
    assert "no full model to compare with" in text


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ([{"layers": 2, "kv": "hole"}, {"layers": 2, "kv": "copy"}], ["kv=hole", "kv=copy"]),
        ([{"layers": None, "skip_ratio": 0.45}], []),
        ([{}], []),
        # All that differ, and lists as they are typed.
        (
            [{"layers": [3, 4], "kv": "hole", "same": 1}, {"layers": None, "kv": "copy", "same": 1}],
            ["layers=[3,4]", "layers=None", "kv=hole", "kv=copy"],
        ),
    ],
)
def test_the_telling_parameter(parameters, shown):
    runs = [record(method_params=json.dumps(p), solved_parameter=None, solved_value=None) for p in parameters]
    header = comparison(runs).split("───")[0]
    assert re.findall(r"\S+=\S+", header) == shown


def test_a_solved_parameter_hides_no_other():
    runs = [
        record(method_params=json.dumps({"similarity": name}), solved_parameter="layers", solved_value=3)
        for name in ("residual", "raw")
    ]
    header = comparison(runs).split("───")[0].split()
    assert header[-5:] == ["layers=3", "layers=3", "similarity=", "similarity=raw", "residual"]


def test_seed_and_limit_tell_what_parameters_do_not():
    header = comparison([record(seed=0, limit=4), record(seed=1, limit=4)]).split("───")[0]
    assert "seed=0" in header and "seed=1" in header and "limit" not in header
    header = comparison([record(limit=4), record(limit=8)]).split("───")[0]
    assert "limit=4" in header and "limit=8" in header


def test_every_run_stands_beside_its_own_baseline():
    """One full model's speed for all would be the first run's."""
    text = comparison([record(full_tokens_per_s=50.1), record(method="swift", full_tokens_per_s=40.2)])
    assert cells(text, "decode tokens/s") == ["61.2", "61.2"]
    assert cells(text, "full model beside it") == ["50.1", "40.2"]
    assert cells(text, "quality (contains_alias)") == ["0.431", "0.412", "0.412"]
    alike = comparison([record(), record(method="swift")])
    assert "beside it" not in alike
    assert cells(alike, "decode tokens/s") == ["50.1", "61.2", "61.2"]


def test_an_explicit_value_of_the_solved_parameter_is_shown():
    run = record(method_params='{"cold_start": 0.15, "threshold": 0.9}', solved_value=None)
    assert "threshold=0.9\n" in comparison([run])


def test_control_characters_cannot_steer_the_terminal():
    hostile = "a\x1b[2J\r\u202eb\x9b\n"
    text = comparison([record(quality_metric=hostile, model=hostile, method=hostile, speed_note=hostile)])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert printable(hostile) == "a\\x1b[2J\\r\\u202eb\\x9b\\n"
    assert printable("Zürich 東京 ÷") == "Zürich 東京 ÷"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"quality_p": 0.25, "quality_delta_hi": -0.001},
            "No measurable difference in quality (p = 0.250); one below 0.031 could go unseen",
        ),
        ({"quality_p": 0.25, "quality_mde": None}, "(p = 0.250); any could go unseen with these examples."),
        ({"quality_p": None}, "No measurable difference in quality; one below 0.031 could go unseen"),
        (
            {"quality_p": None, "quality_delta_hi": -0.001},
            "Its quality is lower by 0.019, and the limits exclude 0; no test, but smaller than",
        ),
        # The test decides, whatever the limits are.
        ({}, "Its quality is lower by 0.019, which is more than the noise (p = 0.041)"),
        ({"quality_p": 0.0}, "more than the noise (p < 0.001)"),
        ({"lossless": True}, "No measurable difference in quality;"),
        (
            {"quality_delta_hi": -0.001},
            "which is more than the noise (p = 0.041), but smaller than",
        ),
        (
            {"quality_delta_hi": -0.001, "quality_mde": 0.01},
            "lower by 0.019, which is more than the noise (p = 0.041).",
        ),
        (
            {"quality_delta": 0.02, "quality_delta_lo": 0.01, "quality_delta_hi": 0.03},
            "Its quality is higher by 0.020",
        ),
        ({"quality_delta_lo": None, "quality_delta_hi": None}, "too few examples"),
        ({"quality_delta": None}, "no answer has a score on both sides"),
        ({}, "Decoding is faster: 1.22 times the full model's tokens per second (limits 1.19 to 1.25)."),
        (
            {"speedup": 7.2, "speedup_lo": 1.18, "speedup_hi": 16.42},
            "7.20 times the full model's tokens per second (limits 1.18 to 16.42: wide, by few examples or",
        ),
        ({"speedup_lo": 0.7, "speedup_hi": 1.25}, "decode speed (limits 0.70 to 1.25: wide, by few"),
        ({"max_new_tokens": 16}, "Answers of at most 16 tokens are too short to tell a loop"),
        ({"speedup": 0.8, "speedup_lo": 0.7, "speedup_hi": 0.9}, "Decoding is slower: 0.80 times"),
        ({"speedup_lo": 0.99}, "No measurable difference in decode speed"),
        ({"speedup": None}, "no answer was timed on both sides"),
        ({"speedup_lo": None}, "these are too few examples"),
        ({"speed_note": "only 3% of steps"}, "Note: only 3% of steps."),
        ({"untrained_ablation": True}, "untrained ablation"),
        ({"baseline": "reuse", "baseline_drift": 1.12}, "The machine was 12% slower than when the full"),
        ({"baseline": "reuse", "baseline_drift": 0.8}, "20% faster"),
        ({"jobs_at_once": 2}, "2 jobs shared the processor"),
    ],
)
def test_sentences_claim_what_the_intervals_allow(values, said):
    assert said in " ".join(sentences(record(**values)))


def test_sentences_follow_the_corrected_test():
    """Alone .03 is beyond chance; as one of two it is not."""
    alone = comparison([record(quality_p=0.03)])
    assert "more than the noise (p = 0.030)" in " ".join(alone.split())
    both = " ".join(comparison([record(quality_p=0.03), record(method="unified", quality_p=0.2)]).split())
    assert "more than the noise" not in both and "No measurable difference in quality (p = 0.060)" in both


def test_several_p_values_are_corrected():
    said = comparison([record(quality_p=0.02), record(method="unified", quality_p=0.03)])
    assert "Corrected for there being several (Holm): " in said
    assert "ffnskip threshold=0.9431 p = 0.040, unified threshold=0.9431 p = 0.040." in " ".join(said.split())
    assert "Holm" not in comparison([record(quality_p=0.02), record(method="swift", lossless=True)])
    assert "not corrected" not in comparison([record()])


def test_show_prints_plain_text_and_where_the_files_lie():
    stream = io.StringIO()
    show([record()], ["results/r\x1b[31m"], ["results/r/wandb"], stream)
    assert stream.getvalue().startswith(comparison([record()], 80))
    assert "metrics.json): results/r\\x1b[31m\n" in stream.getvalue()
    assert stream.getvalue().endswith("Weights & Biases files: results/r/wandb\n")


def test_show_writes_what_an_ascii_terminal_can_show():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show([record(model="Zürich")], stream=stream)
    stream.flush()
    text = raw.getvalue().decode("ascii")
    assert "wrong / attempted" in text and "1.22x" in text and "Z\\xfcrich" in text
