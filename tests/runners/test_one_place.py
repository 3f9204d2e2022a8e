"""One place is one place, by whatever way a path leads there."""

import json
import shutil
from pathlib import Path

import pytest

from analysis.__main__ import main as analysis
from models.cache_folder import cache_root
from models.errors import ModelError
from models.loading import ModelConfig, model_place
from models.places import canonical, expanded, last_part
from runners.execute import finished_before
from runners.judging import judge_run
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Reply

QUESTIONS = [{"id": f"q{n}", "question": f"What is {n} and {n}?", "answers": [str(2 * n)]} for n in range(12)]


def write(path: Path, questions=QUESTIONS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, questions)))
    return path


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home folder and a working folder of the test's own."""
    folder = tmp_path / "home"
    (folder / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder / "work")
    return folder


@pytest.fixture
def spellings(bench, home):
    """Ways to write the folder of the tiny model."""
    shutil.copytree(bench.model, home / "models" / "base", copy_function=shutil.copy2)
    (home / "work" / "link").symlink_to(home / "models" / "base")
    return [
        str(home / "models" / "base"),
        f"{home}/models/base/",
        f"{home}/models/./base//",
        f"{home}/models/../models/base",
        "../models/base",
        "./../models//base/",
        "~/models/base",
        "link",
        "link/.",
    ]


class TestModels:
    def test_a_finished_run_is_found_by_every_spelling(self, bench, spellings):
        run = bench.run(f"model.path={spellings[0]}", "limit=2", "runner.baseline=none").folder
        assert run.name.startswith("base-")
        for path in spellings:
            job = bench.job(f"model.path={path}", "limit=2", "runner.baseline=none")
            assert finished_before(job) == run, path

    def test_the_full_model_is_reused_by_every_spelling(self, bench, spellings):
        bench.run(f"model.path={spellings[0]}", "limit=2", "runner.baseline=none")
        again = ("method=drop_last", "method.layers=1", "runner.baseline=reuse", "limit=2")
        assert len({bench.run(*again, f"model.path={path}").folder for path in spellings[1:4]}) == 1

    def test_copies_are_other_models(self, bench, home):
        """Files of the same names, sizes and times need not be the same."""
        for name in ("one", "two"):
            shutil.copytree(bench.model, home / name / "base", copy_function=shutil.copy2)
        places = {model_place(ModelConfig("x", str(home / name / "base"))) for name in ("one", "two")}
        assert len(places) == 2

    def test_a_file_is_its_content_wherever_it_lies(self, tmp_path):
        for name in ("a.gguf", "b.gguf"):
            (tmp_path / name).write_bytes(b"GGUF")
        assert model_place(ModelConfig("x", str(tmp_path / "a.gguf"))) is None

    def test_names_of_the_hub_stay(self, home):
        (home / "work" / "here").mkdir()
        assert model_place(ModelConfig("x", "owner/name")) == "owner/name" == canonical("owner/name")
        assert model_place(ModelConfig("x", "here")) == str(home / "work" / "here")

    def test_the_name_is_that_of_the_place(self, home, tmp_path):
        (home / "work" / "deep").mkdir()
        (home / "work" / "to").symlink_to("deep")
        (tmp_path / "0a1b").write_bytes(b"")
        (tmp_path / "tiny.gguf").symlink_to(tmp_path / "0a1b")
        for path, name in (
            *(("deep/", "deep"), ("to", "deep"), ("to/../deep", "deep"), (".", "work"), ("~/work", "work")),
            *(
                ("owner/name", "name"),
                ("package://a/b.gguf", "b.gguf"),
                (str(tmp_path / "tiny.gguf"), "tiny.gguf"),
            ),
        ):
            assert last_part(path) == name


class TestFilesOfATask:
    def test_one_file_is_one_source(self, bench, home):
        file = write(home / "data" / "questions.jsonl")
        (home / "work" / "linked.jsonl").symlink_to(file)
        asked = ("task.source=file", "limit=2", "runner.baseline=none")
        run = bench.run(*asked, f"task.path={file}").folder
        for path in ("../data/questions.jsonl", "~/data/questions.jsonl", f"{home}/data//questions.jsonl"):
            assert finished_before(bench.job(*asked, f"task.path={path}")) == run, path
        assert finished_before(bench.job(*asked, "task.path=linked.jsonl")) == run
        reused = ("task.source=file", "task.path=~/data/questions.jsonl", "limit=2", "runner.baseline=reuse")
        assert bench.run("method=drop_last", "method.layers=1", *reused).fresh

    def test_another_content_is_another_run_and_another_row(self, bench, home):
        other = [{**one, "question": f"Say {one['question']}"} for one in QUESTIONS]
        runs = [
            bench.run("task.source=file", f"task.path={path}", "limit=2", "runner.baseline=none")
            for path in (write(home / "a" / "q.jsonl"), write(home / "b" / "q.jsonl", other))
        ]
        assert runs[0].folder != runs[1].folder and runs[1].fresh
        assert runs[0].metrics["source"] == runs[1].metrics["source"] == "file:q.jsonl"
        assert runs[0].metrics["conditions"] != runs[1].metrics["conditions"]
        # The same content elsewhere is the same run.
        again = bench.job(
            "task.source=file",
            f"task.path={write(home / 'c' / 'q.jsonl')}",
            "limit=2",
            "runner.baseline=none",
        )
        assert finished_before(again) == runs[0].folder


class TestJudges:
    def test_a_local_judge_is_one_judge(self, bench, spellings):
        run = bench.run("task=mtbench", "limit=1", "max_new_tokens=4", "runner.baseline=none").folder
        asked = []

        def say(messages):
            asked.append(messages)
            return Reply("Rating: [[7]]", 1, 1)

        labels = {
            judge_run(run, JudgeConfig(name="hf", model=path, mode="single"), say)["judge"]
            for path in spellings
        }
        assert len(labels) == 1 and str(Path(spellings[0]).resolve()) in labels.pop()
        assert len(list(run.glob("judgements-*.parquet"))) == 1 and len(asked) <= 2


class TestHome:
    def test_results_and_studies_lie_in_it(self, command, bench, home):
        usual = bench.overrides("limit=1", "max_new_tokens=2", "runner.baseline=none", "results_dir=~/out")
        assert command(*usual)[0] == 0
        assert command("-m", *usual)[0] == 0
        (study,) = (home / "out" / ".sweep").glob("*/jobs.txt")
        (run,) = (home / "out").glob("*/DONE")
        assert command("status", f"~/out/.sweep/{study.parent.name}")[0] == 0
        assert command("rescore", f"~/out/{run.parent.name}")[0] == 0
        analysis(["report", "~/out", "--out", "~/report"])
        assert (home / "report").is_dir()
        assert not list((home / "work").iterdir())

    def test_a_folder_of_hydra_lies_in_it(self, command, bench, home, monkeypatch):
        monkeypatch.setattr("runners.launchers.run_here", lambda *_: None)
        usual = bench.overrides("limit=1", "max_new_tokens=2", "runner.baseline=none")
        assert command("-m", *usual, "hydra.sweep.dir=~/studies")[0] == 0
        assert list((home / "studies").glob("*/jobs.txt")) and not list((home / "work").iterdir())

    @pytest.mark.parametrize("name", ["SKIPBENCH_CACHE", "XDG_CACHE_HOME"])
    def test_caches_lie_in_it(self, home, monkeypatch, name):
        monkeypatch.delenv("SKIPBENCH_CACHE", raising=False)
        monkeypatch.setenv(name, "~/kept")
        assert cache_root().is_relative_to(home / "kept")

    def test_an_empty_variable_is_none(self, home, monkeypatch):
        monkeypatch.setenv("SKIPBENCH_CACHE", "")
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        assert cache_root() == home / ".cache" / "skipbench"

    def test_nobody_has_none(self, command, bench, home, capfd):
        for said in (
            command(*bench.overrides("results_dir=~nobody-here/x")),
            command("-m", *bench.overrides("results_dir=~nobody-here/x")),
            command("status", "~nobody-here/x"),
            command("rescore", "~nobody-here/x"),
        ):
            assert said[0] == 2 and said[2].count("\n") == 1 and "no home folder ~nobody-here" in said[2]
        with pytest.raises(SystemExit):
            analysis(["report", ".", "--out", "~nobody-here/x"])
        assert capfd.readouterr().err.count("\n") == 1
        assert not list((home / "work").iterdir())

    def test_a_file_whose_name_begins_like_one(self, home):
        Path("~draft.jsonl").write_text("")
        assert expanded("~draft.jsonl") == Path("~draft.jsonl")
        with pytest.raises(ModelError, match=r"write \./~other\.jsonl"):
            expanded("~other.jsonl")
