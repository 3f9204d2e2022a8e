"""The loop of somebody who writes a method: changed code is noticed, nothing solved by the old is used."""

import pytest

from methods.shared.registry import names
from runners import method_code as codes
from runners.check import check_command
from runners.errors import RunError
from runners.method_code import method_code

GIVEN = (
    "method=random_ffn",
    "method.target_skip=0.2",
    "runner.baseline=none",
    "limit=4",
    "max_new_tokens=24",
)


@pytest.fixture
def changed(monkeypatch):
    """Pretend that a method's code is another one."""

    def change(name):
        before = method_code

        def code(asked):
            return "0" * 16 if asked == name else before(asked)

        for module in ("prepare", "execute", "reuse"):
            monkeypatch.setattr(f"runners.{module}.method_code", code)

    return change


def test_a_code_is_that_of_the_file_and_of_what_it_imports(tmp_path, monkeypatch):
    known = {name: method_code(name) for name in names()}
    assert len(set(known.values())) == len(known) and all(len(code) == 16 for code in known.values())
    room = tmp_path / "methods"
    (room / "shared").mkdir(parents=True)
    (room / "mine.py").write_text("from methods.shared import part\n")
    (room / "other.py").write_text("import math\n")
    (room / "shared/part.py").write_text("import methods.shared.deeper as deeper\n")
    (room / "shared/deeper.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(codes, "_ROOT", tmp_path)
    mine, other = method_code("mine"), method_code("other")
    (room / "shared/deeper.py").write_text("VALUE = 22\n")
    assert method_code("mine") != mine and method_code("other") == other


def test_what_was_solved_with_other_code_is_solved_anew(bench, changed, capfd):
    bench.run(*GIVEN)
    assert "Solving share" in capfd.readouterr().err
    bench.run(*GIVEN, "force=true")
    assert "Solving share" not in capfd.readouterr().err
    changed("random_ffn")
    finished = bench.run(*GIVEN)
    said = capfd.readouterr().err
    assert not finished.fresh and "The code of method=random_ffn has changed since" in said
    bench.run(*GIVEN, "force=true")
    assert "Solving share" in capfd.readouterr().err


def test_a_run_does_not_go_on_with_other_code(bench, changed, monkeypatch):
    bench.interrupted(monkeypatch, 2, *GIVEN)
    changed("random_ffn")
    with pytest.raises(
        RunError, match="began with other code of method=random_ffn; force=true begins it anew"
    ):
        bench.run(*GIVEN)
    assert bench.run(*GIVEN, "force=true").fresh


def test_a_baseline_of_other_code_is_reused_and_that_is_said(bench, changed, capfd):
    bench.run("method=full", *GIVEN[2:])
    changed("full")
    capfd.readouterr()
    bench.run("method=random_ffn", "method.share=0.2", "runner.baseline=reuse", *GIVEN[3:])
    assert "The code of method=full has changed since" in capfd.readouterr().err


def test_check_runs_the_contract_of_one_method(monkeypatch):
    with pytest.raises(RunError, match="check takes one method"):
        check_command([])
    monkeypatch.setattr("runners.check._SUITE", ("tests/methods/test_ranges.py",))
    said, status = check_command(["method=unified"])
    assert status == 0 and said.startswith("unified keeps its promises: ")


def test_check_names_what_is_broken(monkeypatch):
    class Done:
        returncode = 1
        stdout = (
            "FAILED tests/x.py::test_a_batch_is_its_rows_alone[llama-full] - assert 1 == 2\n"
            "1 failed, 2 passed in 3.0s"
        )

    monkeypatch.setattr("runners.check.subprocess.run", lambda *given, **options: Done)
    said, status = check_command(["method=full"])
    assert status == 1
    assert said.splitlines()[0] == "a batch is its rows alone [llama-full]: assert 1 == 2"
    assert "full breaks what methods promise" in said
