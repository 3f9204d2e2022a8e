"""The numeric tests as other processors would run them, and which tests noticed.

    python scripts/test_isa.py [--level no-vectors ...] [pytest arguments]

A level limits what torch, MKL, oneDNN and our own kernels may use of this processor. A level above
what it has changes nothing. On ARM, only the numbers of threads differ.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/models", "tests/methods")
AVX2 = {
    **{"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SKIPBENCH_MARCH": "x86-64-v3",
}
SSE = {
    **{"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "SKIPBENCH_MARCH": "x86-64-v2",
}
TWO_THREADS = {"OMP_NUM_THREADS": "2", "SKIPBENCH_TEST_THREADS": "2"}
LEVELS: dict[str, dict[str, str]] = {
    "as it is": {},
    "as it is, two threads": TWO_THREADS,
    "avx2": AVX2,
    "avx2, two threads": {**AVX2, **TWO_THREADS},
    # torch's own loops without vectors, on a library that still has all of them.
    "no vectors in torch": {"ATEN_CPU_CAPABILITY": "default"},
    "sse": SSE,
    "no compiler": {"CXX": "", "PATH": ""},
}


def main() -> int:
    """Run every level, and say which tests failed at some of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--level", action="append", choices=LEVELS, help="only this level")
    arguments, rest = parser.parse_known_args()
    names = arguments.level or [
        name
        for name, setting in LEVELS.items()
        if platform.machine() in ("x86_64", "AMD64") or "SKIPBENCH_MARCH" not in setting
    ]
    failed: dict[str, list[str]] = {}
    ended = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            ended[name], tests, seconds = run(LEVELS[name], report, rest or list(TESTS))
        for test in tests:
            failed.setdefault(test, []).append(name)
        print(f"{name}: status {ended[name]}, {len(tests)} failed, {seconds:.0f} s", flush=True)
    for test, where in sorted(failed.items()):
        print(f"sensitive: {test} ({'; '.join(where)})")
    if not failed and not any(ended.values()):
        print(f"green at {len(names)} levels; no test was sensitive")
    return int(any(ended.values()))


def run(setting: dict[str, str], report: Path, tests: list[str]) -> tuple[int, list[str], float]:
    """The status of one level, the tests that failed, and how long it took."""
    # Threads of two processes would wait for each other's processors.
    workers = "1" if setting.items() >= TWO_THREADS.items() else "2"
    pytest = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "worksteal"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **setting}
    done = subprocess.run(
        [*pytest, f"--junitxml={report}", *tests],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not report.exists():
        print(done.stdout[-2000:])
        return done.returncode, [], 0.0
    suite = ElementTree.parse(report).getroot()[0]
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return done.returncode, failed, float(suite.get("time", 0))


if __name__ == "__main__":
    sys.exit(main())
