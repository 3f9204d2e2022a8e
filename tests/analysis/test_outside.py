"""Results without this project's code, and the notebook."""

import re
from pathlib import Path

import pytest
from small_study import write_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def beside_results(tmp_path, monkeypatch):
    """A folder with results/ in it, as in docs/reading-results.md."""
    write_run(tmp_path / "results", "ffnskip", 0.25)
    write_run(tmp_path / "results", "swift")
    monkeypatch.chdir(tmp_path)


def line(library):
    """The page's line for a library."""
    page = (ROOT / "docs/reading-results.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^{library}\..*samples\.parquet.*$", page, re.MULTILINE)
    return found


def test_pandas(beside_results):
    import glob

    import pandas

    frame = eval(line("pandas"), {"pandas": pandas, "glob": glob})
    assert len(frame) == 24 and set(frame["method"]) == {"ffnskip", "swift"}


def test_duckdb(beside_results):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is optional")
    found = dict(eval(line("duckdb"), {"duckdb": duckdb}).fetchall())
    assert found["swift"] == 0.5 and found["ffnskip"] == pytest.approx(1 / 3)


def test_polars(beside_results):
    polars = pytest.importorskip("polars", reason="Polars is optional")
    frame = eval(line("polars"), {"polars": polars})
    assert frame.height == 24 and frame["quality"].mean() == pytest.approx((4 + 6) / 24)


@pytest.mark.parametrize("name", ["pareto"])
@pytest.mark.slow
def test_the_notebook_draws_the_fronts(tmp_path, monkeypatch, name):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need .[notebook]")
    nbclient = pytest.importorskip("nbclient", reason="notebooks need .[notebook]")
    pytest.importorskip("ipykernel", reason="notebooks need .[notebook]")
    pytest.importorskip("matplotlib", reason="figures need .[plots]")
    for method in ("ffnskip", "early_exit"):
        write_run(tmp_path / "results", method, 0.25)
    monkeypatch.setenv("SKIPBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / f"analysis/notebooks/{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is stored without outputs"
    # As Jupyter opens it, and without an installed copy of the project.
    here = {"metadata": {"path": str(ROOT / "analysis" / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=120, resources=here).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "2 runs, 24 answers, 1 settings" in "".join(output.get("text", "") for output in outputs)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
