"""Seconds to write and to open the HTML page of a synthetic study.

python scripts/bench_page.py [--runs 60] [--examples 100] [--tokens 64] [--repeats 5] [--keep page.html]

Opening is timed in a headless Chromium, from asking for the file to the first frame with the table in it.
That takes the package playwright and a Chromium in PATH; without them only writing is timed.
"""

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd

from analysis.page import gather, write_page
from analysis.tables import settings
from runners.schema import METRICS, metrics_record, samples_table

WORDS = (
    "the of and a small large river city was born in to is one people year first king sea war song".split()
)
# Resolves after the next frame, to the milliseconds since the page was asked for.
_FRAME = "() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"


def study(runs: int, examples: int, tokens: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return metrics and samples of random runs over the same questions."""
    chance = random.Random(0)

    def text() -> str:
        return " ".join(chance.choices(WORDS, k=tokens))

    full = [text() for _ in range(examples)]
    prompts = [text() for _ in range(examples)]
    metrics, samples = [], []
    for run in range(runs):
        skip, quality = run / runs, chance.random()
        metrics.append(
            metrics_record(
                {
                    "run_id": f"run-{run}",
                    "model": "synthetic",
                    "task": f"task-{run % 2}",
                    "method": f"method_{run % 10}",
                    "method_params": json.dumps({"amount": skip}),
                    "quality": quality,
                    "full_quality": 1.0,
                    "quality_delta": quality - 1,
                    "quality_p": chance.random(),
                    "new_hallucination_rate": chance.random(),
                    "realised_skip_weighted": skip,
                    "speedup": 1 + skip * chance.random(),
                }
            )
        )
        samples += [
            {
                "run_id": f"run-{run}",
                "example_id": f"example-{example}",
                "turn": 0,
                "question": prompts[example],
                "prompt": prompts[example],
                "reference": ["king"],
                "full_output_text": full[example],
                "output_text": text(),
                "outcome": chance.choice(["correct", "wrong", "collapsed"]),
                "full_outcome": "correct",
                "decode_s": chance.random(),
                "full_decode_s": chance.random(),
            }
            for example in range(examples)
        ]
    return pd.DataFrame(metrics, columns=METRICS.names), samples_table(samples).to_pandas()


def opening(path: Path, repeats: int) -> tuple[list[float], list[float]] | None:
    """Return the seconds to open the page and then the answers of a run; None without a browser."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if browser is None:
        return None
    page_s, answers_s = [], []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(repeats):
            page = chromium.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("#runs tbody tr")
            page_s.append(page.evaluate(_FRAME) / 1000)
            began = page.evaluate("performance.now()")
            page.evaluate("document.querySelector('tbody button').click()")
            answers_s.append((page.evaluate(_FRAME) - began) / 1000)
            page.close()
        chromium.close()
    return page_s, answers_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("runs", 60), ("examples", 100), ("tokens", 64), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", type=Path, help="where to leave the page")
    given = parser.parse_args()
    metrics, samples = study(given.runs, given.examples, given.tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "report.html"
        began = time.perf_counter()
        write_page(gather(folder, settings(metrics), samples), path.resolve())
        wrote = time.perf_counter() - began
        print(f"{given.runs} runs x {given.examples} examples: {path.stat().st_size / 1e6:.1f} MB", end=", ")
        print(f"written in {wrote:.2f} s")
        measured = opening(path.resolve(), given.repeats)
    if measured is None:
        print("opening was not timed: that takes playwright and a Chromium in PATH")
        return
    for what, seconds in zip(("opened", "answers of a run opened"), measured, strict=True):
        print(f"{what} in {statistics.median(seconds):.2f} s (median of {given.repeats})")


if __name__ == "__main__":
    main()
