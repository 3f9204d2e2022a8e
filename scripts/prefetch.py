"""Fetch what a run needs, so that machines without a network can do it.

python scripts/prefetch.py model=hub model.path=<hub id> task=nq_open     takes what `run.py` takes

On a node with a network: models and data sets of the hub go into HF_HOME, a GGUF is converted into
SKIPBENCH_CACHE. The other nodes see the same folders and run with HF_HUB_OFFLINE=1. Any number of these may
run at a time.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# From the checkout, whatever is installed.
sys.path.insert(0, str(ROOT))

from models.fetching import fetched  # noqa: E402
from runners.configure import composed, job_from  # noqa: E402
from runners.typed import as_typed  # noqa: E402
from runners.user_errors import USER_ERRORS, check_arguments, one_line  # noqa: E402
from tasks import registry as tasks  # noqa: E402

CONF = ROOT / "conf"


def prefetch(overrides: list[str]) -> None:
    """Fetch the model and the data of one combination, and say where they are."""
    job = job_from(composed(CONF, as_typed(overrides)))
    print(f"model {job.model.name}: {fetched(job.model)}")
    task = tasks.create(job.task_name, job.task)
    print(f"task {job.task_name}: {len(task.load())} examples ({task.source_label})")


def main() -> None:
    """Run the command line; what a user can mend is one line and status 2."""
    try:
        check_arguments(sys.argv[1:])
        prefetch(sys.argv[1:])
    except USER_ERRORS as error:
        print(f"error: {one_line(error, CONF)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
