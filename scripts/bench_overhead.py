"""What the harness itself takes: generation as a share of a run's time, start-up left out.

    python scripts/bench_overhead.py [method=ffnskip method.threshold=0.99 limit=200 ...]

Runs one combination into a temporary folder (200 factoid questions by default; any key of run.py goes) and
prints generation / wall. Generation is what the clocks of both sides have taken, prefill included; the
rest is scoring, the answers' log-probability under the full model, and writing.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
DEFAULTS = ["method=ffnskip", "method.threshold=0.99", "task=factoidqa", "limit=200", "logger=none"]
TIMES = ["prefill_s", "decode_s", "full_prefill_s", "full_decode_s"]


def main() -> None:
    """Run, read, print."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "run.py", *DEFAULTS, *sys.argv[1:], f"results_dir={results}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(done.returncode)
        (samples,) = Path(results).glob("*/samples.parquet")
        metrics = json.loads((samples.parent / "metrics.json").read_text())
        rows = pq.read_table(samples, columns=[*TIMES, "output_tokens"]).to_pylist()
    generation = sum(row[name] or 0.0 for row in rows for name in TIMES)
    wall = metrics["wall_s"] - metrics["setup_s"]
    tokens = sum(row["output_tokens"] for row in rows) / len(rows)
    print(
        f"{metrics['run_id']}: {len(rows)} answers of {tokens:.0f} tokens, generation {generation:.1f} s of "
        f"{wall:.1f} s, {generation / wall:.3f}; start-up {metrics['setup_s']:.1f} s"
    )


if __name__ == "__main__":
    main()
