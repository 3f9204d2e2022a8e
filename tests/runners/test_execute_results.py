"""What a finished run leaves, under which name, and in which order."""

import json
import re
import shutil
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml
from bench import rows_of, untimed

from runners.errors import RunError
from runners.execute import Finished, finished_before
from runners.schema import METRICS, SAMPLES, metrics_record
from runners.storage import RunFolder
from runners.wandb_logger import Destination

LETTERS = [
    {"id": f"q{n}", "question": f"Which letter is number {n}?", "answers": ["e", f"x{n}"]} for n in range(9)
]


@pytest.fixture
def questions(tmp_path):
    """A file of nine questions with a calibration file beside it, and the overrides that name them."""
    for name, records in (("questions", LETTERS[:5]), ("calibration", LETTERS[5:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return [
        "task.source=file",
        f"task.path={tmp_path / 'questions.jsonl'}",
        f"task.calibration_path={tmp_path / 'calibration.jsonl'}",
    ]


def test_files_of_a_run(bench):
    finished = bench.run("method=random_ffn", "method.share=0.5")
    assert sorted(file.name for file in finished.folder.iterdir()) == [
        *("DONE", "config.yaml", "environment.json", "metrics.json", "samples.parquet")
    ]
    assert re.fullmatch(r"tiny-factoidqa-random_ffn-[0-9a-f]{8}", finished.folder.name)
    table = pq.read_table(finished.folder / "samples.parquet")
    assert table.schema.equals(SAMPLES) and table.num_rows == 4
    record = json.loads((finished.folder / "metrics.json").read_text())
    assert list(record) == METRICS.names and record == finished.metrics == metrics_record(record)
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert config["method"]["name"] == "random_ffn" and config["method"]["share"] == 0.5
    assert (config["limit"], config["model"]["name"], config["runner"]["baseline"]) == (4, "tiny", "paired")
    environment = json.loads((finished.folder / "environment.json").read_text())
    assert environment["versions"]["torch"] and environment["threads"] == 1


def test_metrics_say_what_was_run(bench):
    metrics = bench.run("method=random_ffn", "method.share=0.5", "seed=3", "batch_size=2").metrics
    said = {
        **{"model": "tiny", "task": "factoidqa", "source": "embedded", "prompt_style": "chat", "seed": 3},
        **{"method": "random_ffn", "lossless": False, "untrained_ablation": False, "kv_policy": "full"},
        **{"batch_policy": "gather", "skip_in_prefill": False, "dtype": "float32"},
        **{"threads": 1, "batch_size": 2, "max_new_tokens": 24, "temperature": 0, "limit": 4},
        **{"baseline": "paired", "examples": 4, "quality_metric": "contains"},
        **{
            "task_version": "4",
            "hallucination_metric": "wrong answers",
            "judge": None,
            "peak_memory_kind": "process",
            "energy_j": None,
        },
    }
    assert {name: metrics[name] for name in said} == said
    assert metrics["device"].startswith("cpu") and metrics["engine_layer"] in {"native", "fused"}
    assert metrics["engine_product"] == "kernel" or "linear" in metrics["engine_product"]
    assert json.loads(metrics["method_params"])["share"] == 0.5
    assert metrics["model_revision"].startswith("files:")
    assert 0 < metrics["setup_s"] < metrics["wall_s"] and metrics["peak_memory_bytes"] > 1e6
    assert metrics["realised_skip_attention"] == 0 < metrics["realised_skip_ffn"] < 1


def test_other_conditions_have_another_name(bench):
    """What keeps two runs out of one table, although no column says it."""

    def name(*settings):
        usual = ("limit=1", "max_new_tokens=3", "runner.baseline=none")
        return bench.run(*usual, *settings).metrics["conditions"]

    usual = name()
    assert re.fullmatch("[0-9a-f]{8}", usual)
    assert {name("seed=1"), name("method=random_ffn", "method.share=0.5"), name("limit=2")} == {usual}
    others = ("runner.fixed_length=true", "runner.first_token=method", "max_prompt_tokens=900", "top_k=5")
    assert len({usual, *map(name, others)}) == 5


def test_a_journal_that_has_an_example_twice(bench, monkeypatch):
    """As two processes leave it if somebody removes the folder, lock and all, below the first."""
    wanted = [untimed(row) for row in bench.rows()]
    (folder,) = bench.results.glob("[!.]*")
    shutil.rmtree(folder)
    bench.interrupted(monkeypatch, 2)
    run = RunFolder(bench.results, folder.name)
    run.append(run.read_journal()[0])
    assert [untimed(row) for row in bench.rows()] == wanted


def test_a_journal_that_lacks_an_answer(bench, monkeypatch):
    append = RunFolder.append

    def forgetful(run, record):
        if record["rows"][0]["batch"] != 1:
            append(run, record)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "append", forgetful)
        with pytest.raises(RunError, match="lacks 1 examples that were answered"):
            bench.run()
    assert len(bench.rows()) == 4


def test_rows_say_what_was_asked(bench):
    rows = bench.rows("runner.baseline=none")
    again = bench.rows("runner.baseline=none", "seed=1")
    for row, same in zip(rows, again, strict=True):
        assert row["prompt"].startswith("<user>Answer in one short sentence.\n")
        assert row["prompt"].endswith(f"{row['question']}\n<assistant>")
        assert row["prompt_tokens"] == len(row["prompt"].encode())
        assert (row["turn"], row["task"], row["method"], row["truncated"]) == (0, "factoidqa", "full", False)
        for name in ("example_id", "source_sha256", "prompt_sha256", "reference", "category"):
            assert row[name] == same[name] and row[name]
    assert len({row["prompt_sha256"] for row in rows}) == len(rows)


def test_a_smaller_run_is_part_of_a_larger_one(bench):
    small, large = (bench.rows(f"limit={n}", "runner.baseline=none") for n in (5, 10))
    ids = [row["example_id"] for row in large]
    assert [row["example_id"] for row in small] == ids[:5] and len(set(ids)) == 10
    assert [row["output_ids"] for row in small] == [row["output_ids"] for row in large[:5]]
    # Not the first ten of the file, which are all of one category.
    assert len({row["category"] for row in large}) > 3


class TestRunId:
    """The name of a run stands for all that changes its tokens or times, and for nothing else."""

    @pytest.fixture
    def name(self, bench, monkeypatch):
        """Return a function that names the run of a command; nothing is run."""

        def unrun(*given):
            _, plan, _ = given
            return SimpleNamespace(finish=lambda started: Finished({}, plan.run.path, fresh=True))

        monkeypatch.setattr("runners.execute.Execution", unrun)

        def name_of(*overrides):
            usual = ["method=random_ffn", "method.share=0.5", "runner.baseline=none"]
            said = {override.partition("=")[0] for override in overrides}
            if "method" in said:
                usual = []
            return bench.run(
                *(key for key in usual if key.partition("=")[0] not in said), *overrides
            ).folder.name

        return name_of

    def test_what_does_not_matter(self, name, tmp_path):
        first = name()
        assert name(f"results_dir={tmp_path / 'elsewhere'}") == first
        assert name("force=true") == first
        assert name("logger=wandb", "logger.mode=disabled") == first
        assert name("logger.project=mine") == first
        # Said otherwise, but the same.
        assert name("dtype=float32", "device=cpu") == first
        assert name("runner.calibration_prompts=7") == first

    def test_what_matters(self, name):
        changes = [
            *("limit=3", "seed=1", "batch_size=2", "dtype=bfloat16", "threads=2", "max_new_tokens=5"),
            *("max_prompt_tokens=300", "on_overflow=truncate", "temperature=1", "task.shots=2"),
            *("method.share=0.4", "method.warmup_tokens=2", "runner.baseline=paired", "method=full"),
            *("runner.first_token=method", "runner.fixed_length=true", "task.prompt=fewshot"),
            *("task.instruction=Answer.",),
        ]
        names = [name(), *(name(change) for change in changes)]
        names += [name("temperature=1", "top_k=5"), name("temperature=1", "top_p=0.5")]
        assert len(set(names)) == len(names)

    def test_content_of_the_data(self, name, questions, tmp_path):
        path, text = tmp_path / "questions.jsonl", (tmp_path / "questions.jsonl").read_text()
        first = name(*questions, "limit=5")
        path.write_text(text.replace('"x3"', '"y3"'))
        assert name(*questions, "limit=5") != first
        path.write_text(text)
        assert name(*questions, "limit=5") == first
        assert name(*questions, "limit=99") == first

    def test_content_of_the_solved_questions_of_a_prompt(self, name, questions, tmp_path):
        fewshot = [*questions, "task.prompt=fewshot", "task.shots=2"]
        first, chat = name(*fewshot), name(*questions)
        path = tmp_path / "calibration.jsonl"
        path.write_text(path.read_text().replace('"e"', '"f"'))
        assert name(*fewshot) != first
        assert name(*questions) == chat

    @pytest.mark.parametrize("method", ["static_ffn", "random_ffn"])
    def test_calibration_questions_where_the_method_needs_them(self, name, questions, tmp_path, method):
        def tuned(*overrides):
            return name(f"method={method}", *questions, *overrides)

        first = tuned()
        assert tuned("runner.calibration_prompts=2") != first
        path = tmp_path / "calibration.jsonl"
        path.write_text(path.read_text().replace("letter", "sign"))
        assert tuned() != first

    def test_content_of_the_model(self, name, bench, tmp_path):
        copy = tmp_path / "copy" / "tiny"
        shutil.copytree(bench.model, copy)
        first = name(f"model.path={copy}")
        (copy / "generation_config.json").write_text("{}")
        assert name(f"model.path={copy}") != first


def test_threads_are_torchs_own_again_after_a_run_that_set_them(bench, monkeypatch):
    short = ["limit=1", "max_new_tokens=2", "runner.baseline=none"]
    monkeypatch.setattr("runners.execute._OWN_THREADS", 1)
    assert bench.run(*short, "threads=2").metrics["threads"] == 2
    assert bench.run(*short, "threads=null").metrics["threads"] == 1


def test_finished_runs_are_read_and_not_run_again(bench, command, monkeypatch):
    first = bench.run("limit=2")
    assert first.fresh
    monkeypatch.setattr("runners.execute.load_model", None)
    again = bench.run("limit=2")
    assert (again.fresh, again.metrics, again.folder) == (False, first.metrics, first.folder)
    status, out, err = command(*bench.overrides("limit=2"))
    assert (status, err) == (0, "")
    assert f"{first.folder.name} was finished already; force=true runs it again." in out
    monkeypatch.undo()
    forced = bench.run("limit=2", "force=true")
    assert forced.fresh and forced.folder == first.folder
    assert len(rows_of(forced)) == 2
    assert forced.metrics["wall_s"] != first.metrics["wall_s"]


def test_a_larger_batch_than_there_are_examples(bench):
    assert [row["batch"] for row in bench.rows("limit=3", "batch_size=64", "runner.baseline=none")] == [0] * 3


def test_weights_and_biases_gets_its_settings_by_name(bench, monkeypatch):
    got = []
    monkeypatch.setattr("runners.execute.log_run", lambda *given: got.extend(given))
    settings = ["logger.project=mine", "logger.group=ours", "logger.mode=offline"]
    finished = bench.run("limit=1", "logger=wandb", *settings)
    config, metrics, rows, folder, to = got
    assert to == Destination("offline", "mine", "ours")
    assert (metrics, folder, len(rows)) == (finished.metrics, finished.folder, 1)
    assert config["method"] == {"name": "full"}


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_run_of_which_nobody_was_told_is_told_when_it_is_asked_for_again(bench, monkeypatch):
    """Killed between the end of the run and the telling, or W&B was not there, or logged nowhere at first."""
    told, answers = [], ["it is gone"]

    def tell(message, *_):
        told.append(message)
        return answers.pop() if answers else None

    monkeypatch.setattr("runners.wandb_logger._run_process", tell)
    settings = ("limit=1", "max_new_tokens=4")
    asked = ("logger=wandb", "logger.project=mine")
    finished = bench.run(*settings)
    assert told == []
    # The first time W&B is not there; a study does not wait for it again.
    for count in (1, 2, 2):
        assert not bench.run(*settings, *asked).fresh and len(told) == count
        assert finished_before(bench.job(*settings, *asked)) == finished.folder
    # Other scoring, other metrics.
    bench.run(*settings, *asked, "task.scoring=legacy_leaky")
    assert len(told) == 3
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("runners.execute.log_run", interrupted)
        bench.run(*settings, *asked, "force=true")
    # So does one whose process was killed in between: also in a study.
    assert finished_before(bench.job(*settings, *asked)) is None
    bench.run(*settings, *asked)
    assert len(told) == 4 and finished_before(bench.job(*settings, *asked)) == finished.folder
    message = json.loads(told[0])
    assert message["project"] == "mine" and message["config"]["method"]["name"] == "full"
    assert message["summary"]["examples"] == 1 and len(message["examples"]["data"]) == 1
