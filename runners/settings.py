"""What a run is: the shared keys of the command line, checked."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.loading import EngineConfig, ModelConfig
from models.sampling import Sampler
from runners.errors import RunError
from tasks.judges.config import JudgeConfig

# What fits every column and library that these numbers go to.
_MOST = 2**31 - 1
# OpenMP ends the process when it cannot create a thread.
_MOST_THREADS = 1024


def _within(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise RunError(f"{name}={value} is out of range: it must be a whole number from {least} to {most}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RunError(f"{name}={value} is unknown; choose {', '.join(choices)}")


def parsed_moment(text: object, where: str) -> datetime:
    """A moment from its ISO form, such as 2026-11-27 or 2026-11-27T09:30.

    Raises
    ------
    RunError
    """
    try:
        return datetime.fromisoformat(str(text).strip())
    except ValueError:
        raise RunError(
            f"{where}={str(text)[:40]!r} is no date; write it as 2026-11-27 or 2026-11-27T09:30"
        ) from None


@dataclass(frozen=True)
class RunnerConfig:
    """How the pair of method and baseline is measured.

    Attributes
    ----------
    baseline : str
        paired: each example is decoded by the full model too, in alternating order, in this process;
        reuse: the full model's answers and times come from a finished run of `method=full`; none.
    first_token : str
        prefill: the pass over the prompt yields token 0; method: the prompt's last token is left to decode
        step 0.
    fixed_length : bool
        Ignore EOS and stop strings: every answer has `max_new_tokens` tokens.
    calibration_prompts : int
        Prompts that `target_skip` is solved on.
    replay : bool
        Off the clock, the method also decodes the full model's tokens: agreement, KL divergence and the speed
        on identical sequences. It doubles a run's time.
    replay_examples : int
        At most so many examples are replayed.
    now : str or None
        The moment that chat templates with a date write, in ISO form. None: that of the first run of the
        results folder which asked.
    """

    baseline: str = "paired"
    first_token: str = "prefill"
    fixed_length: bool = False
    calibration_prompts: int = 40
    replay: bool = False
    replay_examples: int = 64
    now: str | None = None

    def __post_init__(self) -> None:
        _one_of("runner.baseline", self.baseline, ("paired", "reuse", "none"))
        _one_of("runner.first_token", self.first_token, ("prefill", "method"))
        _within("runner.calibration_prompts", self.calibration_prompts, 1, _MOST)
        _within("runner.replay_examples", self.replay_examples, 1, _MOST)
        if self.now is not None:
            parsed_moment(self.now, "runner.now")
        if self.replay and self.baseline == "none":
            raise RunError("runner.replay=true needs the full model: runner.baseline=paired or reuse")


@dataclass(frozen=True)
class LoggerConfig:
    """Where results go besides the results folder.

    Attributes
    ----------
    name : str
        wandb or none.
    mode : str
        W&B's mode: offline, online or disabled.
    project : str
    group : str or None
    live : bool
        Show progress, once a minute, while a run goes on: a process beside the one that is timed.
    """

    name: str = "wandb"
    mode: str = "offline"
    project: str = "skipbench"
    group: str | None = None
    live: bool = False

    def __post_init__(self) -> None:
        _one_of("logger.name", self.name, ("wandb", "none"))
        _one_of("logger.mode", self.mode, ("offline", "online", "disabled"))
        if self.live and self.mode != "online":
            raise RunError("logger.live=true shows progress on W&B's server: it needs logger.mode=online")


@dataclass(frozen=True)
class Settings:
    """The shared keys.

    Attributes
    ----------
    limit : int or None
        Examples to run; they are taken in an order that a hash of their ids fixes, so that a small run covers
        every category and is part of a larger one. None: all.
    seed : int
    batch_size : int
    dtype : str or None
        float32, bfloat16 or float16; auto: the one that this machine multiplies faster with; None: float32 on
        a CPU, bfloat16 on CUDA.
    device : str
        auto, cpu, cuda or cuda:N.
    threads : int or None
        Of torch, on the host. None: torch's own choice.
    max_new_tokens : int or None
        None: the task's.
    max_prompt_tokens : int or None
        None: what the model's context leaves.
    on_overflow : str
        A longer prompt is an `error`, or is cut (`truncate`): a chat loses the end of its longest message, a
        plain text its beginning.
    temperature, top_k, top_p
        See `models.sampling.Sampler`.
    results_dir : str
    force : bool
        Run again what is finished.
    """

    limit: int | None = None
    seed: int = 0
    batch_size: int = 1
    dtype: str | None = None
    device: str = "auto"
    threads: int | None = None
    max_new_tokens: int | None = None
    max_prompt_tokens: int | None = None
    on_overflow: str = "error"
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    results_dir: str = "results"
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "batch_size", "max_new_tokens", "max_prompt_tokens"):
            _within(name, getattr(self, name), 1, _MOST)
        _within("threads", self.threads, 1, _MOST_THREADS)
        _within("seed", self.seed, 0, 2**63 - 1)
        if not math.isfinite(self.temperature):
            raise RunError(f"temperature={self.temperature} is out of range: it must be finite")
        if not self.results_dir.strip():
            raise RunError("results_dir is empty; name a folder, or leave it to its default")
        _one_of("on_overflow", self.on_overflow, ("error", "truncate"))
        _ = self.sampler

    @property
    def sampler(self) -> Sampler:
        """The sampler of these settings."""
        return Sampler(self.temperature, self.top_k, self.top_p)


@dataclass(frozen=True)
class Job:
    """One combination, ready to run.

    Attributes
    ----------
    method_name : str
    method : object
        The method's parameters.
    task_name : str
    task : object
        The task's configuration.
    """

    method_name: str
    method: Any
    task_name: str
    task: Any
    model: ModelConfig
    engine: EngineConfig
    runner: RunnerConfig
    judge: JudgeConfig
    logger: LoggerConfig
    settings: Settings
