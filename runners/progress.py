"""What the journal of a run knows: what is answered, what that took, and at the end the answers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from runners.errors import RunError
from runners.scoring import scored
from runners.storage import RunFolder
from tasks.base import Task

_IDENTITY = ("example_id", "source_sha256", "prompt", "prompt_sha256")


@dataclass(frozen=True)
class Progress:
    """How far earlier tries of a run came.

    It holds no answer: a long run keeps none in memory but the one it is at.

    Attributes
    ----------
    done : set of str
        Examples that are answered.
    spent_s : float
        Seconds that they took.
    halved : int
        Batches that had to be halved.
    jobs_at_once : int
        Jobs that shared the processor, at most.
    state : dict or None
        The method's, after the last batch; None: nothing is answered yet.
    first_rows : sequence of dict
        What the first turns asked: the columns of an example's identity alone.
    """

    done: frozenset[str]
    spent_s: float
    halved: int
    jobs_at_once: int
    state: dict[str, Any] | None
    first_rows: Sequence[dict[str, Any]] = ()

    @classmethod
    def of(cls, run: RunFolder) -> "Progress":
        """What the journal of a run says."""
        records = run.read_journal()
        try:
            return cls(
                done=frozenset(row["example_id"] for record in records for row in record["rows"]),
                spent_s=sum(record["wall_s"] for record in records),
                halved=sum(record.get("halved", False) for record in records),
                jobs_at_once=max((record.get("jobs_at_once", 1) for record in records), default=1),
                state=records[-1]["state"] if records else None,
                first_rows=[
                    {name: row[name] for name in _IDENTITY}
                    for record in records
                    for row in record["rows"]
                    if not row["turn"]
                ],
            )
        except (KeyError, TypeError) as error:
            raise RunError(
                f"{run.journal.path}: not the journal of a run; remove the file, and the run starts anew"
            ) from error


def answered(run: RunFolder, task: Task, asked: Collection[str]) -> list[dict[str, Any]]:
    """All answers of a run, from its journal, each once and scored with the scoring of today.

    Parameters
    ----------
    run, task
    asked
        The examples.

    Raises
    ------
    RunError
        The journal lacks some: somebody has changed it.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in run.read_journal():
        for row in record["rows"]:
            found.setdefault((row["example_id"], row["turn"]), row | scored(task, row))
    if missing := set(asked) - {example for example, _ in found}:
        raise RunError(
            f"{run.journal.path} lacks {len(missing)} examples that were answered; the same command answers "
            "them again"
        )
    return list(found.values())
