"""Seconds from the command to the first finished example, with the model converted already.

python scripts/bench_startup.py [--repeats 3]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def once() -> float:
    """Run one short example and return the seconds until it is on disk."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "run.py", "method=ffnskip", "method.threshold=0.99", "task=factoidqa"]
        command += ["limit=1", "max_new_tokens=2", "logger=none", f"results_dir={results}"]
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not any(Path(results).glob("*/journal.jsonl")):
                time.sleep(0.02)
            seconds = time.perf_counter() - began
        if process.returncode:
            sys.exit(process.returncode)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    once()
    seconds = [once() for _ in range(arguments.repeats)]
    print(f"command to first example: {statistics.median(seconds):.1f} s (median of {arguments.repeats})")


if __name__ == "__main__":
    main()
