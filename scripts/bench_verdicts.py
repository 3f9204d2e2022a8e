"""How often is the full model said to be faster or slower than itself? At most once in twenty, at any length.

    python run.py method=full limit=160 results_dir=/tmp/timed logger=none
    python scripts/bench_verdicts.py [/tmp/timed/<run>] [--trials 2000] [--speedup 1.3] [--seed 0]

Draws runs of a few examples, timed as a paired run times them (full, method, method, full), from a machine's
step times, and counts the verdicts: false ones where both sides are the same, right ones where the method is
faster by the speedup. Step times are those of a run, read in the order in which they were measured, from a
random place on, so that neighbours stay as alike as they were; or, without a run, made up: a machine that is
quiet, one whose speed wanders at the pace of the answers (the worst that the alternation can meet) or more
slowly, and one that other processes disturb, for short or long. Needs NumPy, SciPy and PyArrow only.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.signal import lfilter

sys.path.insert(0, str(Path(__file__).parents[1]))

from runners.statistics import speedup_interval

EXAMPLES = (2, 4, 8, 16, 24)
Floats = NDArray[np.float64]
# Decode tokens of short answers, here of SmolLM2-135M to factoid questions.
LENGTHS = np.array([13, 11, 10, 17, 31, 18, 33, 11, 19, 9, 20, 14, 19, 11, 7, 42, 8, 9, 10, 18])
_STEPS = 4000
# The side that comes second takes a little longer: caches hold what the first one read.
_SECOND = 1.03


def wandering(generator: np.random.Generator, share: float, pace: float, steps: int = _STEPS) -> Floats:
    """Step times of a machine whose speed wanders by a share, and forgets where it was after `pace` steps."""
    keeps = np.exp(-1 / pace)
    pushes = generator.normal(0, share * np.sqrt(1 - keeps**2), steps)
    return np.exp(lfilter([1], [1, -keeps], pushes) + generator.normal(0, 0.05, steps))


def disturbed(generator: np.random.Generator, times: Floats, every: float, length: float) -> Floats:
    """The same, slowed down three times more or less for `length` steps, once in `every`."""
    times = times.copy()
    for _ in range(generator.poisson(len(times) / every)):
        start = generator.integers(len(times))
        times[start : start + 1 + int(generator.exponential(length))] *= 1 + generator.exponential(3)
    return times


def measured(run: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Step times of a paired run in the order in which they were taken, and its answers' lengths."""
    table = pq.read_table(run / "samples.parquet", columns=["batch", "order", "step_s", "full_step_s"])
    rows = sorted(table.to_pylist(), key=lambda row: row["batch"])
    times: list[float] = []
    for row in rows:
        sides = [row["full_step_s"], row["step_s"]]
        times += [second for side in sides[:: 1 if row["order"] == "full" else -1] for second in side]
    lengths = np.array([len(row["full_step_s"]) for row in rows])
    return np.array(times), lengths[lengths > 0]


def paired_run(
    generator: np.random.Generator, times: Floats, lengths: NDArray[np.int64], examples: int, speedup: float
) -> tuple[Floats, Floats, Floats]:
    """Tokens, the method's seconds and the full model's of a run that begins at a random place."""
    tokens = generator.choice(lengths, examples)
    start = generator.integers(len(times))
    line = np.take(times, start + np.arange(2 * tokens.sum()), mode="wrap")
    ends = np.concatenate([[0], np.cumsum(np.repeat(tokens, 2))])
    sides = np.add.reduceat(line, ends[:-1]).reshape(-1, 2) * [1, _SECOND]
    swapped = np.arange(examples) % 2 == 1
    sides[swapped] = sides[swapped, ::-1]
    return tokens.astype(np.float64), sides[:, 1] / speedup, sides[:, 0]


def claims(
    generator: np.random.Generator,
    machine: Callable[[], Floats],
    lengths: NDArray[np.int64],
    examples: int,
    speedup: float,
    trials: int,
) -> float:
    """The share of runs with limits that exclude 1."""
    found = 0
    for _ in range(trials):
        tokens, seconds, full_seconds = paired_run(generator, machine(), lengths, examples, speedup)
        _, lo, hi = speedup_interval(tokens, seconds, tokens, full_seconds)
        found += lo is not None and hi is not None and not lo <= 1 <= hi
    return found / trials


def machines(generator: np.random.Generator) -> Iterator[tuple[str, Callable[[], Floats]]]:
    """Made-up machines: a name, and step times drawn anew at every call."""
    yield "quiet", lambda: wandering(generator, 0.06, 50)
    yield "wanders slowly, by 20 %", lambda: wandering(generator, 0.2, 200)
    yield "wanders as answers do, by 20 %", lambda: wandering(generator, 0.2, 20)
    yield "disturbed for short", lambda: disturbed(generator, wandering(generator, 0.06, 50), 250, 10)
    yield "disturbed for long", lambda: disturbed(generator, wandering(generator, 0.06, 50), 500, 60)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--speedup", type=float, default=1.3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    generator = np.random.default_rng(given.seed)
    print(f"| step times | speedup | {' | '.join(f'n = {n}' for n in EXAMPLES)} |")
    print(f"|---|---|{'---|' * len(EXAMPLES)}")

    def tell(name: str, machine: Callable[[], Floats], lengths: NDArray[np.int64]) -> None:
        for speedup in (1.0, given.speedup):
            shares = [claims(generator, machine, lengths, n, speedup, given.trials) for n in EXAMPLES]
            cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(f"| {name} | {speedup:g} | {cells} |", flush=True)

    for run in given.runs:
        times, lengths = measured(run)
        tell(f"{run.name}, as measured", lambda times=times: times, lengths)  # type: ignore[misc]
        tell("the same, disturbed", lambda times=times: disturbed(generator, times, 250, 20), lengths)  # type: ignore[misc]
    if not given.runs:
        for name, machine in machines(generator):
            tell(name, machine, LENGTHS)


if __name__ == "__main__":
    main()
