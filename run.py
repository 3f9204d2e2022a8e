"""The entry point: compose the configuration, call the runner, print the table."""

import os
import sys
from functools import partial
from pathlib import Path

# Hydra's own errors come through to `main`, which makes one line of them.
os.environ["HYDRA_FULL_ERROR"] = "1"

CONF = Path(__file__).resolve().parent / "conf"
USAGE = """python run.py method=ffnskip task=factoidqa       one combination
python run.py -m method=full,ffnskip task=...      several
python run.py -m +experiment=...                   a study
python run.py rescore results/<run_id> [...]       new scores from stored outputs
python run.py judge results/<run_id> judge=openai judge.model=...    grades for stored outputs
python run.py --list                               methods, tasks, models and studies"""


def compose_and_run() -> tuple[list, list[Exception]]:
    """Let Hydra compose one configuration or several and run each: the finished runs, and the errors."""
    import hydra
    from omegaconf import DictConfig

    from runners.configure import job_from
    from runners.execute import execute
    from runners.user_errors import USER_ERRORS

    finished = []
    errors: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def run(config: DictConfig) -> None:
        # Kept from Hydra, which would add lines of its own; the other combinations run all the same.
        try:
            finished.append(execute(job_from(config)))
        except USER_ERRORS as error:
            errors.append(error)

    run()
    return finished, errors


def show_names() -> None:
    """Print what can be composed; studies are chosen by +experiment=..."""
    for group in ("method", "task", "model", "experiment"):
        print(f"{group}: {', '.join(sorted(file.stem for file in (CONF / group).glob('*.yaml')))}")


def command(arguments: list[str]) -> list[Exception]:
    """Do what the command line asks for; the errors of single combinations are returned."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return []
    if "--list" in arguments:
        show_names()
        return []
    from runners.table import show
    from runners.user_errors import check_arguments

    if arguments[:1] in (["rescore"], ["judge"]):
        from runners.commands import judge_command, rescore_command

        again = rescore_command if arguments[0] == "rescore" else partial(judge_command, conf=CONF)
        show(*again(arguments[1:]))
        return []
    check_arguments(arguments)
    finished, errors = compose_and_run()
    if finished:
        wandb_folders = [run.folder / "wandb" for run in finished if (run.folder / "wandb").is_dir()]
        show([run.metrics for run in finished], [run.folder for run in finished], wandb_folders)
        for run in finished:
            if not run.fresh:
                print(f"{run.folder.name} was finished already; force=true runs it again.")
    return errors


def main() -> None:
    """Run the command line; what a user can mend is one line and status 2."""
    from runners.user_errors import USER_ERRORS, one_line

    try:
        errors = command(sys.argv[1:])
    except USER_ERRORS as error:
        errors = [error]
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was", file=sys.stderr)
        sys.exit(130)
    for line in dict.fromkeys(f"error: {one_line(error, CONF)}" for error in errors):
        print(line, file=sys.stderr)
    if errors:
        sys.exit(2)


if __name__ == "__main__":
    main()
