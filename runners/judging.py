"""A finished run put before a judge: every question asked once, every verdict kept as soon as it is there."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

from models.places import canonical
from runners.bars import Bar
from runners.errors import RunError
from runners.identity import digest
from runners.judge_metrics import grades_by_part, judge_metrics
from runners.schema import judgements_table
from runners.storage import finished_run
from runners.thoughts import answer_in
from runners.verdict_store import VerdictStore
from runners.wandb_logger import NOWHERE, Destination, log_grades
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Complete, JudgeUnreachableError, endpoint
from tasks.judges.prompts import Asked, PromptBook, Turn
from tasks.judges.verdicts import ratings, winner

JUDGED = ("mtbench", "summarization")
# So many failures in a row by each of those who ask, and there is nobody.
_GIVE_UP = 3


@dataclass(frozen=True)
class Question:
    """One thing to ask about one row.

    Attributes
    ----------
    side : str
        own or full: whose answer is graded. own_first, full_first: who stands first in a comparison.
    asked : Asked or None
        None: both answers are the same, and nobody needs to be asked.
    """

    row: dict[str, Any]
    side: str
    asked: Asked | None


def check_judge(config: JudgeConfig, task: str, baseline: str | None, turns: int) -> None:
    """Refuse a judge that could not do its work, before there is anything to judge.

    Raises
    ------
    RunError, DataError
        The task is not judged, a conversation has too many turns, there is nothing to compare with, or the
        judge's prompts, client or key are not there.
    """
    if config.name == "none":
        return
    _check_run(config, task, baseline)
    PromptBook(config.prompts).check_turns(turns)
    if config.name == "openai":
        endpoint(config)


def _check_run(config: JudgeConfig, task: str, baseline: str | None) -> None:
    if task not in JUDGED:
        raise RunError(f"task={task} has right answers and is not judged; judged are: {', '.join(JUDGED)}")
    if config.mode != "single" and baseline == "none":
        raise RunError(
            f"judge.mode={config.mode} needs the full model's answers, and runner.baseline is none"
        )


def judge_label(config: JudgeConfig, book: PromptBook, store: VerdictStore) -> str:
    """Who judged and by what, in words; the last part stands for the options that are not named."""
    return f"{config.name} {config.model} {config.mode} prompts {book.sha256[:8]} options {store.name[:8]}"


def judge_run(
    path: Path,
    config: JudgeConfig,
    complete: Complete | None = None,
    to: Destination = NOWHERE,
) -> dict[str, Any]:
    """Judge a finished run.

    Parameters
    ----------
    path : Path
        Of the run.
    config : JudgeConfig
    complete : callable or None
        Asks the judge; None: whom the configuration names.
    to : Destination
        Where W&B is told of the grades, once they are written.

    Returns
    -------
    dict
        The run's metrics with the judge's, which have been written.

    Raises
    ------
    RunError, DataError
        The run is not finished or of a task that is not judged; the judge refuses or is not there. Verdicts
        that were given are kept, and not asked for again.
    """
    run = finished_run(path)
    if config.name == "hf":
        config = replace(config, model=canonical(str(config.model)))
    book = PromptBook(config.prompts)
    with run.lock():
        rows, metrics = run.read_rows(), run.read_metrics()
        _check_run(config, metrics["task"], metrics["baseline"])
        questions = list(questions_of(rows, metrics["task"], book, config.mode))
        store = VerdictStore(config)
        failed = _ask_all([one.asked for one in questions if one.asked], store, config, complete)
        judged = [_judged(one, store) for one in questions]
        label = judge_label(config, book, store)
        metrics |= judge_metrics(judged, config, seed=metrics["seed"] or 0)
        metrics |= {"judge": label, "judge_failed": failed}
        # A name that no other judge has, however long the model's.
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', label)[:60]}-{digest(label)[:8]}"
        table = judgements_table({"run_id": metrics["run_id"], "judge": label, **row} for row in judged)
        run.finish(rows, metrics, judgements={name: table})
    log_grades(metrics, grades_by_part(judged), table.to_pylist(), run.path, to)
    return metrics


def questions_of(
    rows: Sequence[dict[str, Any]], task: str, book: PromptBook, mode: str
) -> Iterator[Question]:
    """Everything to ask about a run, conversation by conversation."""
    ordered = sorted(rows, key=lambda row: (row["example_id"], row["turn"]))
    for _, group in groupby(ordered, key=lambda row: row["example_id"]):
        turns: list[Turn] = []
        full_turns: list[Turn] = []
        for row in group:
            full = row["full_output_text"]
            turns.append(Turn(row["question"], row["output_text"], full))
            full_turns.append(Turn(row["question"], full or "", full))
            about = (task, row["category"])
            if mode != "pairwise":
                yield Question(row, "own", book.single(*about, turns, row["reference"]))
                if full is not None:
                    yield Question(row, "full", book.single(*about, full_turns, row["reference"]))
            if mode != "single" and full is not None:
                same = all(turn.answer == turn.full_answer for turn in turns)
                for side in ("own_first", "full_first"):
                    asked = book.pairwise(*about, turns, row["reference"], side == "full_first")
                    yield Question(row, side, None if same else asked)


def _ask_all(
    asked: Sequence[Asked], store: VerdictStore, config: JudgeConfig, complete: Complete | None
) -> int:
    """Ask what is not known yet, several at a time; how many questions stayed without an answer."""
    # The same words are asked once, whoever said them.
    missing = {store.key(one): one for one in asked if store.get(one) is None}
    if not missing:
        return 0
    known = len({store.key(one) for one in asked}) - len(missing)
    workers = 1 if config.name == "hf" else config.concurrency
    # Nobody there at all shows in fewer questions than somebody who went away.
    patience = _GIVE_UP * workers if known else min(_GIVE_UP * workers, len(missing))
    session = _Session(complete or _judge(config), store, patience)
    with (
        ThreadPoolExecutor(workers) as pool,
        Bar(len(missing), "verdict", desc="judge") as bar,
    ):
        futures = [pool.submit(session.ask, one) for one in missing.values()]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        finally:
            session.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
    return session.failed


class _Session:
    """Questions asked by several at a time.

    Parameters
    ----------
    patience
        Failures in a row after which the judge counts as gone.
    """

    def __init__(self, complete: Complete, store: VerdictStore, patience: int):
        self._complete, self._store, self._patience = complete, store, patience
        self._lock = Lock()
        self._in_a_row = self.failed = 0
        self.stopped = False

    def ask(self, one: Asked) -> None:
        """Ask, and keep the answer: it is paid, whatever happens to the others.

        Raises
        ------
        RunError
            The judge is gone.
        """
        if self.stopped:
            return
        try:
            self._store.add(one, self._complete(one.messages))
        except JudgeUnreachableError as error:
            with self._lock:
                self.failed, self._in_a_row = self.failed + 1, self._in_a_row + 1
                # A question that is always refused is no reason; many in a row are.
                if self._in_a_row >= self._patience:
                    self.stopped = True
                    raise RunError(f"the judge cannot be reached: {error}") from None
        else:
            with self._lock:
                self._in_a_row = 0


def _judge(config: JudgeConfig) -> Complete:
    if config.name == "hf":
        from runners.local_judge import local_judge

        return local_judge(config)
    return endpoint(config)


def _judged(question: Question, store: VerdictStore) -> dict[str, Any]:
    """A question with its verdict, as columns."""
    row, asked = question.row, question.asked
    found = {
        "example_id": row["example_id"],
        "turn": row["turn"],
        "category": row["category"],
        "side": question.side,
        "prompt_name": None if asked is None else asked.prompt_name,
        "question_sha256": None if asked is None else store.key(asked),
    }
    if asked is None:
        return {**found, "winner": "tie", "parsed": True}
    verdict = store.get(asked)
    if verdict is None:
        return {**found, "parsed": None}
    found |= {
        "reply": verdict.text,
        "prompt_tokens": verdict.prompt_tokens,
        "completion_tokens": verdict.completion_tokens,
    }
    # A judge that thinks first may weigh other verdicts before its own.
    said = answer_in(verdict.text)
    if question.side in ("own", "full"):
        given = ratings(said, asked.ratings)
        rating = None if given is None else sum(given) / len(given)
        return {**found, "ratings": given, "rating": rating, "parsed": given is not None}
    won = winner(said)
    first, second = ("own", "full") if question.side == "own_first" else ("full", "own")
    names = {"A": first, "B": second, "C": "tie", None: None}
    return {**found, "winner": names[won], "parsed": won is not None}
