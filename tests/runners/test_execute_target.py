"""`target_skip`: the parameter is solved for the realised skip asked for, once, on prompts never scored."""

import json
import re

import pytest
import torch
from bench import rows_of

from methods.random_ffn import RandomFFN, RandomFFNParams
from methods.shared.errors import MethodError
from methods.shared.target import Solvable
from runners.decoding import Decoding
from runners.errors import RunError
from runners.target_skip import solve
from tasks import registry
from tasks.errors import DataError
from tiny import method_of, tiny_stack


@pytest.mark.parametrize(
    ("method", "parameter", "unit", "target"),
    [
        ("ffnskip", "threshold", "weighted", 0.2),
        ("ffnskip", "threshold", "ffn", 0.1),
        pytest.param("random_ffn", "share", "weighted", 0.3, marks=pytest.mark.slow),
        ("random_ffn", "share", "ffn", 0.5),
        # One FFN of three, less the two steps of 23 at most that run in full.
        ("static_ffn", "count", "ffn", 0.3),
    ],
)
def test_the_skip_asked_for_is_reached(bench, method, parameter, unit, target):
    settings = [f"method={method}", f"method.target_skip={target}", f"method.target_unit={unit}"]
    finished = bench.run(*settings, "limit=40", "runner.baseline=none")
    metrics = finished.metrics
    assert (metrics["target_skip"], metrics["target_unit"]) == (target, unit)
    assert (metrics["nominal_skip"], metrics["solved_parameter"]) == (target, parameter)
    assert metrics["calibration_skip"] == pytest.approx(target, abs=0.03)
    # Other questions, fewer steps: near, and not necessarily as near.
    assert metrics[f"realised_skip_{unit}"] == pytest.approx(target, abs=0.06)
    assert json.loads(metrics["method_params"])[parameter] == metrics["solved_value"]
    assert all(
        json.loads(row["method_params"])[parameter] == metrics["solved_value"] for row in rows_of(finished)
    )


LAYER_METHODS = {
    "early_exit": "threshold",
    "skipdecode": "min_layers",
    "unified": "target_speedup",
    "random_layer": "share",
    "drop_last": "layers",
    "shortgpt": "layers",
}


@pytest.mark.parametrize(("method", "parameter"), LAYER_METHODS.items())
def test_methods_that_leave_out_layers_come_as_near_as_their_parameter_allows(bench, method, parameter):
    """Three layers: a whole number of them can miss by half a layer, a threshold or a share by nothing."""
    settings = [f"method={method}", "method.target_skip=0.25", "runner.baseline=none"]
    metrics = bench.run(*settings, "limit=20").metrics
    assert metrics["solved_parameter"] == parameter and metrics["solved_value"] is not None
    near = 0.03 if method in ("early_exit", "random_layer") else 1 / 6
    assert metrics["calibration_skip"] == pytest.approx(0.25, abs=near)
    assert metrics["realised_skip_weighted"] == pytest.approx(metrics["calibration_skip"], abs=0.06)


@pytest.mark.parametrize(("method", "parameter"), LAYER_METHODS.items())
def test_methods_that_leave_out_layers_name_what_they_reach(bench, method, parameter):
    with pytest.raises(
        RunError, match=rf"{parameter} reaches a realised skip \(weighted\) of 0\.\d\d to 0"
    ) as error:
        bench.run(f"method={method}", "method.target_skip=0.95")
    assert "\n" not in str(error.value)


def test_calibration_skip_is_what_a_run_on_those_prompts_realises(bench, tmp_path):
    """The measurement behind the solution, against the metrics of an ordinary run of the same examples."""
    solved = bench.run("method=random_ffn", "method.target_skip=0.3", "runner.baseline=none").metrics
    records = [
        {"id": one.example_id, "question": one.question, "answers": list(one.references)}
        for one in registry.create("factoidqa").calibration()
    ]
    path = tmp_path / "calibration.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "What?", "answers": ["that"]}')
    data = ["task.source=file", f"task.path={path}", f"task.calibration_path={other}", "limit=40"]
    scored = bench.run(
        *data, "method=random_ffn", f"method.share={solved['solved_value']}", "runner.baseline=none"
    ).metrics
    assert scored["realised_skip_weighted"] == pytest.approx(solved["calibration_skip"], abs=1e-9)


def test_out_of_reach(bench):
    settings = ["method=static_ffn", "method.target_unit=attention", "method.target_skip=0.8"]
    with pytest.raises(RunError, match=r"count reaches a realised skip \(attention\) of 0\.00 to 0\.00 here"):
        bench.run(*settings)
    assert not bench.results.exists()


@pytest.mark.parametrize("method", ["drop_last", "static_ffn", "random_ffn"])
def test_a_source_without_calibration_questions(bench, tmp_path, method):
    """Some methods know what they solve only once they know the model; none may skip solving in silence."""
    path = tmp_path / "questions.jsonl"
    # A question that the hash does not set aside.
    path.write_text('{"question": "Who?", "answers": ["one"]}')
    data = ["task.source=file", f"task.path={path}", f"method={method}"]
    with pytest.raises(DataError, match="too small to set examples aside for calibration"):
        bench.run(*data)
    if method != "static_ffn":
        value = {"drop_last": "layers=1", "random_ffn": "share=0.5"}[method]
        assert bench.rows(*data, f"method.{value}", "runner.fixed_length=true")[0]["skipped_steps"] > 0


def test_an_explicit_value_switches_solving_off(bench, monkeypatch, capsys):
    monkeypatch.setattr("runners.prepare.solve", None)
    metrics = bench.run("method=random_ffn", "method.share=0.5").metrics
    for name in ("target_skip", "target_unit", "solved_value", "calibration_skip"):
        assert metrics[name] is None
    assert "share=0.5 is given: target_skip=0.2 is not solved for" in capsys.readouterr().err
    nothing = bench.run("method=random_ffn", "method.target_skip=null").metrics
    assert "solved for" not in capsys.readouterr().err
    assert (nothing["target_skip"], nothing["realised_skip_ffn"]) == (None, 0)
    assert "only 0% of decode steps skipped anything" in nothing["speed_note"]
    assert {path.name for path in (bench.folder / "cache").iterdir()} <= {"kernels", "products.json"}


def test_a_solution_is_found_once(bench, monkeypatch, tmp_path):
    settings = ("method=static_ffn", "method.target_skip=0.2", "runner.baseline=none")
    first = bench.run(*settings).metrics
    files = sorted((bench.folder / "cache" / "calibration").iterdir())
    # What it calibrated, the steps of the full model, and what it solved.
    assert len(files) == 3
    monkeypatch.setattr("runners.prepare.solve", None)
    monkeypatch.setattr("methods.static_ffn.StaticFFN.calibrate", None)
    again = bench.run(*settings, "limit=6", "batch_size=2", f"results_dir={tmp_path / 'again'}").metrics
    for name in ("solved_value", "calibration_skip", "method_params"):
        assert again[name] == first[name]
    for damage in ("{", "[]"):
        for file in files:
            file.write_text(damage)
        # TypeError: None is not callable, so it was about to be computed anew.
        with pytest.raises(TypeError, match="not callable"):
            bench.run(*settings, "limit=5")


@pytest.mark.parametrize(
    "change", ["seed=1", "max_new_tokens=20", "method.target_skip=0.25", "temperature=1"]
)
def test_a_solution_is_not_taken_for_another_question(bench, monkeypatch, change):
    bench.run("method=random_ffn", "limit=1", "runner.baseline=none")
    monkeypatch.setattr("runners.prepare.solve", None)
    with pytest.raises(TypeError, match="not callable"):
        bench.run("method=random_ffn", "limit=1", "runner.baseline=none", change)


@pytest.mark.parametrize("source", ["embedded", "file"])
def test_calibration_examples_are_never_scored(bench, monkeypatch, tmp_path, source):
    data = []
    if source == "file":
        questions = registry.create("factoidqa").load()[:150]
        records = [{"question": one.question, "answers": list(one.references)} for one in questions]
        (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, records)))
        data = ["task.source=file", f"task.path={tmp_path / 'questions.jsonl'}"]
    tuned_on, decode = set(), Decoding.batch

    def watched(self, method, prompts, keys, *more, **named):
        tuned_on.update(key for key, _ in keys)
        return decode(self, method, prompts, keys, *more, **named)

    monkeypatch.setattr(Decoding, "batch", watched)
    monkeypatch.setattr("runners.execute.Execution.finish", lambda self, started: self)
    execution = bench.run(*data, "method=static_ffn", "limit=null", "runner.calibration_prompts=40")
    scored = {example.example_id for example in execution.examples}
    assert len(scored) > 100 and 20 <= len(tuned_on) <= 40
    assert not tuned_on & scored


FFN_METHODS = {"ffnskip": "threshold", "random_ffn": "share", "static_ffn": "count"}


@pytest.mark.parametrize(("method", "parameter"), {**LAYER_METHODS, **FFN_METHODS}.items())
def test_a_target_and_what_it_would_solve_exclude_each_other(bench, monkeypatch, method, parameter):
    monkeypatch.setattr("runners.execute.load_model", None)
    value = 1 if parameter in ("count", "layers", "min_layers", "target_speedup") else 0.5
    asked = [f"method={method}", f"method.{parameter}={value}"]
    with pytest.raises(MethodError, match=f"^{parameter}=.* and target_skip=0.3 exclude each other: .*leave"):
        bench.run(*asked, "method.target_skip=0.3")
    assert not bench.results.exists()


@pytest.mark.parametrize(("method", "parameter"), {**LAYER_METHODS, **FFN_METHODS}.items())
def test_parameters_name_what_their_method_solves(method, parameter):
    bound = method_of(method, tiny_stack("llama"))
    assert bound.solves.name == bound.params.SOLVED == parameter


def test_short_answers_are_made_up_for_by_more_prompts(bench, capsys):
    """Twelve prompts of 23 steps are 276; 500 need 22 at least."""
    asked = ("method=random_ffn", "runner.baseline=none", "runner.fixed_length=true", "limit=2")
    bench.run(*asked, "runner.calibration_prompts=12")
    said = capsys.readouterr().err
    (count,) = re.findall(r"on (\d+) calibration prompts", said)
    assert 22 <= int(count) <= 26 and "only" not in said
    # A number of layers is what it is after any number of steps.
    bench.run("method=drop_last", *asked[1:], "runner.calibration_prompts=3")
    said = capsys.readouterr().err
    assert "on 3 calibration prompts" in said and "only" not in said


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_prompts_say_what_they_are_worth(bench, tmp_path, capsys, count):
    scored, tuned = tmp_path / "scored.jsonl", tmp_path / "tuned.jsonl"
    scored.write_text('{"question": "Who?", "answers": ["one"]}')
    questions = [{"question": f"Which is number {n}?", "answers": ["one"]} for n in range(count)]
    tuned.write_text("\n".join(map(json.dumps, questions)))
    data = ["task.source=file", f"task.path={scored}", f"task.calibration_path={tuned}"]
    asked = ["method=ffnskip", *data, "runner.fixed_length=true", "runner.baseline=none"]
    for _ in range(2):  # solved, and read
        bench.run(*asked, "force=true")
        said = capsys.readouterr().err
        steps = f"solved on {23 * count} decode steps only, of {count} calibration prompt"
        assert steps in said
        assert (r" ± 0." in said) == (count == 2) and ("nothing tells how exactly" in said) == (count == 1)


class Known:
    """A measurement that follows a formula instead of a model."""

    def __init__(self, skip):
        self.skip, self.asked = skip, []

    def __call__(self, method, count=None):
        self.asked.append((method.params.share, count))
        return self.skip(method.params.share), 1000


def method_at(target, at=lambda place: place, rises=True):
    method = RandomFFN(RandomFFNParams(target_skip=target))
    method.solves = Solvable("share", at=at, rises=rises)
    type(method).solves = RandomFFN.solves
    method.stack = type("Stack", (), {"layers": [0] * 10})()
    return method


@pytest.mark.parametrize(
    "skip",
    [
        lambda share: 0.6 * share,
        lambda share: 0.6 * share**4,
        # Flat in places, with a jump, and not monotone.
        lambda share: 0.1 if share < 0.3 else 0.5 * share,
        lambda share: 0.6 * share + 0.05 * torch.tensor(40 * share).sin().item(),
    ],
)
@pytest.mark.parametrize("target", [0.18, 0.3, 0.45])
def test_search_on_a_known_relation(skip, target):
    solution = solve(method_at(target), Known(skip), prompts=48)
    assert (solution.parameter, solution.steps) == ("share", 1000)
    assert solution.skip == skip(solution.value) == pytest.approx(target, abs=0.03)


def test_search_where_few_prompts_lead_astray():
    """The first sixteen prompts skip far less than all of them do."""

    class Astray(Known):
        def __call__(self, method, count=None):
            share = method.params.share
            return (0.3 * share if count else 0.9 * share), 1000

    assert solve(method_at(0.25), Astray(None), prompts=48).skip == pytest.approx(0.25, abs=0.03)


def test_a_jump_over_the_target_takes_the_nearer_side():
    solution = solve(method_at(0.3), Known(lambda share: 0.0 if share < 0.5 else 0.5), prompts=48)
    assert (solution.skip, solution.value >= 0.5) == (0.5, True)


def test_range_of_what_is_out_of_reach():
    with pytest.raises(RunError, match=r"share reaches a realised skip \(weighted\) of 0\.10 to 0\.40 here"):
        solve(method_at(0.5), Known(lambda share: 0.1 + 0.3 * share), prompts=48)


@pytest.mark.parametrize("content", ["{}", "[1]", "{", '{"influence": 3}', "[" * 100_000])
def test_a_damaged_calibration_is_made_anew(bench, tmp_path, content):
    asked = ("method=shortgpt", "method.layers=1", "limit=2", "max_new_tokens=8")
    wanted = [row["output_ids"] for row in bench.rows(*asked)]
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    file.write_text(content)
    assert [row["output_ids"] for row in bench.rows(*asked, "force=true")] == wanted
    assert "influence" in file.read_text() and file.read_text() != content
