"""A search through a method's parameters for the front of several metrics, by Optuna."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from models.errors import first_line
from runners.errors import RunError
from runners.files import explained, held
from runners.schema import FLOAT, METRICS
from runners.storage import finished_run
from runners.study import Study

if TYPE_CHECKING:
    import optuna

DIRECTIONS = ("maximize", "minimize")
# Before the name of a metric that a task declares.
_OWN = "score_means."


@dataclass(frozen=True)
class SearchConfig:
    """What `hydra.sweeper` says of a search.

    Attributes
    ----------
    objectives : list of str
        Metrics; `score_means.<name>` is one that the task declares.
    direction : list of str
        Of each: maximize or minimize.
    n_trials : int
        Finished trials, those of earlier commands included.
    n_jobs : int
        Trials at a time.
    seed : int
        Of the sampler.
    """

    objectives: list[str] = field(default_factory=lambda: ["quality", "speedup"])
    direction: list[str] = field(default_factory=lambda: ["maximize", "maximize"])
    n_trials: int = 20
    n_jobs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.objectives:
            own = name.startswith(_OWN)
            if not own and (name not in METRICS.names or METRICS.field(name).type != FLOAT):
                raise RunError(f"hydra.sweeper.objectives: {name} is no metric that is a number")
        if not self.objectives or len(self.direction) != len(self.objectives):
            raise RunError("hydra.sweeper.direction must name a direction for each objective")
        if wrong := set(self.direction) - set(DIRECTIONS):
            raise RunError(f"hydra.sweeper.direction={wrong.pop()} must be one of: {', '.join(DIRECTIONS)}")
        for name in ("n_trials", "n_jobs"):
            if getattr(self, name) < 1:
                raise RunError(f"hydra.sweeper.{name}={getattr(self, name)} is out of range: at least 1")


class Search:
    """A study whose jobs Optuna chooses, each by what came of those before.

    What it has asked for and learnt lies in `search.log` beside the jobs: the same command goes on with it,
    and tries again what was interrupted or failed.

    Parameters
    ----------
    root : Path
        The folder of studies.
    arguments : sequence of str
        Overrides, those with `interval`, `range` or `choice` searched through.
    config : SearchConfig

    Raises
    ------
    RunError
        Optuna is not installed, nothing is to be searched, or in a way that it cannot be.
    """

    def __init__(self, root: Path, arguments: Sequence[str], config: SearchConfig) -> None:
        self._config = config
        self._optuna = _optuna()
        parsed = OverridesParser.create().parse_overrides(list(arguments))
        pairs = list(zip(arguments, parsed, strict=True))
        self._fixed = [text for text, one in pairs if not one.is_sweep_override()]
        self._space = dict(_searched(one) for _, one in pairs if one.is_sweep_override())
        if not self._space:
            raise RunError(
                "hydra/sweeper=optuna has nothing to search: give a parameter as "
                "interval(a,b), range(a,b) or choice(a,b)"
            )
        self.study = Study.growing(root, arguments)

    def run(self, start: Callable[[Study, Sequence[int]], None]) -> None:
        """Run trials until enough have finished; end when none of the first has.

        Parameters
        ----------
        start : callable (study, numbers)
            Runs jobs of the study and returns when they have ended.

        Raises
        ------
        RunError
            Another process is at it, or what it knows cannot be read or written.
        KeyboardInterrupt
            The search was asked to stop.
        """
        busy = f"another process is searching in {self.study.folder}; wait for it"
        with held(self.study.folder / "search.lock", busy):
            # Another process may have added jobs in the meantime.
            self.study = Study(self.study.folder)
            with self._known():
                self._again()
                left = self._config.n_trials - len(self._finished())
            while left > 0:
                with self._known():
                    trials = [self._sampled.ask(self._space) for _ in range(min(left, self._config.n_jobs))]
                numbers = [self.study.number_of([*self._fixed, *_words(trial.params)]) for trial in trials]
                start(self.study, list(dict.fromkeys(numbers)))
                with self._known():
                    for trial, number in zip(trials, numbers, strict=True):
                        self._sampled.tell(trial, *self._learnt(number))
                    left -= len(trials)
                    if not self._finished():
                        return

    def front(self) -> str | None:
        """The trials that no other beats in every objective, in a sentence."""
        with self._known():
            best = sorted(self._sampled.best_trials, key=lambda trial: trial.values, reverse=True)
        if not best:
            return None
        told = [
            f"{' '.join(_words(trial.params))} ({', '.join(f'{value:.3g}' for value in trial.values)})"
            for trial in best
        ]
        return f"Front of {', '.join(self._config.objectives)}: " + "; ".join(dict.fromkeys(told))

    @contextmanager
    def _known(self) -> Iterator[None]:
        """What fails while Optuna reads or writes what is known, in one line."""
        path = self.study.folder / "search.log"
        try:
            with explained("write", path):
                yield
        except ValueError as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path} cannot be read ({first_line(error)}); remove it to begin anew") from error

    @cached_property
    def _sampled(self) -> "optuna.Study":
        """Optuna's own study."""
        config, storages = self._config, self._optuna.storages
        log = storages.journal.JournalFileBackend(str(self.study.folder / "search.log"), _Held())
        found: optuna.Study = self._optuna.create_study(
            storage=storages.JournalStorage(log),
            study_name=", ".join(map(" ".join, zip(config.direction, config.objectives, strict=True))),
            directions=config.direction,
            load_if_exists=True,
        )
        # Its trials so far are a part of the seed: a search that goes on draws nothing twice.
        seed = config.seed + len(found.trials)
        found.sampler = self._optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return found

    def _finished(self) -> list["optuna.trial.FrozenTrial"]:
        return [trial for trial in self._sampled.trials if trial.values is not None]

    def _again(self) -> None:
        """Ask first for what an earlier command began and did not finish."""
        trials = self._sampled.trials
        # One that is queued has its parameters elsewhere.
        queued = [trial.system_attrs.get("fixed_params") for trial in trials if not trial.state.is_finished()]
        known = [trial.params for trial in self._finished()] + [one for one in queued if one]
        for trial in trials:
            if trial.values is None and trial.params and trial.params not in known:
                if not trial.state.is_finished():
                    self._sampled.tell(trial.number, state=self._failed)
                self._sampled.enqueue_trial(trial.params)
                known.append(trial.params)

    def _learnt(self, number: int) -> tuple[list[float] | None, Any]:
        """The objectives of a job and no state; no values and a failure if it has none."""
        run = self.study.status(number).run
        metrics = finished_run(Path(run)).read_metrics() if run is not None else {}
        own = {f"{_OWN}{name}": mean for name, mean in (metrics.get("score_means") or {}).items()}
        values = [{**metrics, **own}.get(name) for name in self._config.objectives]
        if run is not None and None in values:
            missing = self._config.objectives[values.index(None)]
            self.study.tell(number, "failed", f"the run has no {missing}", Path(run))
        known = [float(value) for value in values if value is not None]
        return (known, None) if len(known) == len(values) else (None, self._failed)

    @property
    def _failed(self) -> "optuna.trial.TrialState":
        return self._optuna.trial.TrialState.FAIL


class _Held:
    """The lock of Optuna's journal, which nobody else touches while `search.lock` is ours.

    Its own outlives a process that is killed, and then keeps the next one waiting.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise RunError(
            'hydra/sweeper=optuna needs Optuna, which is not installed: pip install -e ".[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _searched(override: Override) -> tuple[str, "optuna.distributions.BaseDistribution"]:
    key = override.get_key_element()
    try:
        return key, _distribution(override)
    except ValueError as error:
        raise RunError(f"{key}: {error}") from error


def _distribution(override: Override) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if getattr(value, "tags", None) and not isinstance(value, IntervalSweep):
        raise ValueError("only an interval can be tagged")
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(value.start, value.end, log=log)
    if isinstance(value, RangeSweep):
        points = sorted(float(text) for text in override.sweep_string_iterator())
        if not points:
            raise ValueError("the range is empty")
        step = abs(value.step or 1)
        # As it was written: where a share is meant, 1 would be one layer.
        if all(isinstance(one, int) for one in (value.start, value.stop, step)):
            return IntDistribution(int(points[0]), int(points[-1]), step=int(step))
        # Sums of steps end a little beside the number that they mean.
        return FloatDistribution(points[0], float(f"{points[-1]:.12g}"), step=step)
    if isinstance(value, ChoiceSweep):
        return CategoricalDistribution([str(text) for text in override.sweep_string_iterator()])
    raise ValueError("a search takes interval(a,b), range(a,b) or choice(a,b)")


def _words(params: dict[str, Any]) -> list[str]:
    """The overrides of a trial; six digits tell two settings apart, and can be read."""
    return [f"{key}={_rounded(value)}" for key, value in params.items()]


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
