"""The entry point: compose the configuration, call the runner, print the table."""

import os
import sys
from functools import partial
from pathlib import Path

# Hydra's own errors come through to `main`, which makes one line of them.
os.environ["HYDRA_FULL_ERROR"] = "1"

CONF = Path(__file__).resolve().parent / "conf"


def command(arguments: list[str]) -> tuple[list[str], int]:
    """Do what the command line asks for; return what went wrong, in lines, and the exit status."""
    from runners.configure import refuse_secrets
    from runners.notices import printable
    from runners.table import show
    from runners.user_errors import check_arguments, nothing_ran

    refuse_secrets(arguments)
    if arguments[0] in ("rescore", "judge"):
        from runners.commands import judge_command, rescore_command

        again = rescore_command if arguments[0] == "rescore" else partial(judge_command, conf=CONF)
        show(*again(arguments[1:]))
        return [], 0
    if arguments[0] == "check":
        from runners.check import check_command

        text, status = check_command(arguments[1:])
        print(text)
        return [], status
    if arguments[0] == "job":
        from runners.job_process import job_command

        return [], job_command(arguments[1:], CONF)
    from runners.launch import launch, status_command

    if arguments[0] == "status":
        report = status_command(arguments[1:])
    else:
        runs = check_arguments(arguments)
        report = launch(CONF, Path(__file__).resolve())
        if runs and report.empty:
            raise nothing_ran()
    if finished := report.finished:
        wandb_folders = [run.folder / "wandb" for run in finished if (run.folder / "wandb").is_dir()]
        show([run.metrics for run in finished], [run.folder for run in finished], wandb_folders)
        for run in finished:
            if not run.fresh:
                print(f"{run.folder.name} was finished already; force=true runs it again.")
    if report.summary:
        print("\n".join(map(printable, report.summary.splitlines())))
    return report.errors, report.status


def main() -> None:
    """Run the command line; what a user can mend is one line and status 2, in a study status 1."""
    from runners.overview import overview
    from runners.streams import steady

    steady()
    if (text := overview(CONF, sys.argv[1:])) is not None:
        print(text)
        finish([], 0)
        return
    # Bars of libraries (a GGUF conversion) are for somebody who is watching; read when tqdm is imported.
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    from runners.user_errors import USER_ERRORS, one_line

    try:
        errors, status = command(sys.argv[1:])
    except USER_ERRORS as error:
        errors, status = [one_line(error, CONF)], 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        sys.exit(130)
    finish(errors, status)


def finish(errors: list[str], status: int) -> None:
    """End the process with a line for each error, also for output that could not be written."""
    from runners.notices import printable
    from runners.streams import unwritten

    if lost := unwritten():
        errors, status = [*errors, lost], status or 2
    for line in errors:
        print(f"error: {printable(line)}", file=sys.stderr)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
