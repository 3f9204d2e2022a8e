"""One combination executed: from a checked job to a finished results folder."""

import contextlib
import dataclasses
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import yaml

from methods.full import Full
from methods.shared.method import Method
from methods.shared.registry import method_class
from models.chat import ChatTemplate
from models.loading import LoadedModel, load_model, model_revision
from models.places import expanded
from runners import identity, resources
from runners.bars import Bar
from runners.columns import Rows, quotient, total
from runners.decoding import Decoding
from runners.entailment import check_entailment, give_entailment
from runners.environment import code_revision, environment
from runners.errors import RunError
from runners.finished import Finished, judged, read_finished, scoring_to_redo
from runners.halving import fitted_rows
from runners.judging import check_judge
from runners.method_code import method_code
from runners.metrics import summarise
from runners.moment import prompt_moment
from runners.notices import model_notices, say, say_left_out
from runners.pair import Pair
from runners.prepare import calibration_examples, prepared
from runners.progress import Progress, answered
from runners.prompts import PromptEncoder, batches, selection
from runners.replay import spread
from runners.rescore import declared_metrics
from runners.reuse import Asked, changed_code, changed_prompt, covering_rows, full_columns
from runners.settings import Job
from runners.speed_metrics import decode_tokens
from runners.stopping import StopRequest
from runners.storage import RunFolder, check_writable
from runners.wandb_hint import suggest_none
from runners.wandb_live import Live
from runners.wandb_logger import Destination, is_promised, log_run, promise
from runners.warm_up import warm_up
from tasks import registry as tasks
from tasks.base import Example, Task

# torch's own choice, kept because an earlier run of this process may have set another.
_OWN_THREADS = torch.get_num_threads()


@lru_cache(maxsize=1)
def _model(
    config: Any, dtype: str, device: str, engine: Any, keep_layout: bool, content: str | None, threads: int
) -> LoadedModel:
    """The model opened last, if it is still the same one: `content` is its `model_revision`."""
    return load_model(config, dtype=dtype, device=device, engine=engine, keep_layout=keep_layout)


@dataclass(frozen=True)
class _Plan:
    """What is known of a run before its model is loaded."""

    task: Task
    examples: list[Example]
    calibration: list[Example]
    method: Method
    max_new_tokens: int
    conditions: dict[str, Any]
    run: RunFolder


def _plan(job: Job) -> _Plan:
    settings = job.settings
    torch.set_num_threads(settings.threads or _OWN_THREADS)
    task = tasks.create(job.task_name, job.task)
    max_new_tokens = settings.max_new_tokens or task.max_new_tokens
    examples = selection(task.load(), settings.limit)
    method = method_class(job.method_name)(job.method)
    _check_batch(method, settings.batch_size)
    calibration = calibration_examples(job, method, task)
    conditions = identity.conditions(job, model_revision(job.model), max_new_tokens)
    root = expanded(settings.results_dir)
    check_writable(root)
    # What judging needs is looked for now, and not when the answers are there.
    turns = max(len(one.turns) for one in examples)
    check_judge(job.judge, job.task_name, job.runner.baseline, turns)
    check_entailment(task)
    run = RunFolder(root, identity.run_id(job, conditions, task, examples, calibration))
    return _Plan(task, examples, calibration, method, max_new_tokens, conditions, run)


def execute(job: Job, stop: StopRequest | None = None) -> Finished:
    """Run a job, or what an earlier try left of it; a finished one is only read.

    Parameters
    ----------
    job
    stop
        Asked before every batch.

    Raises
    ------
    RunError, ModelError, MethodError, DataError
        In one line: what the user can mend. Results already on disk stay as they are.
    Interrupted
        A stop was asked for. The same job goes on with the first batch that is missing.
    """
    with model_notices():
        return _executed(job, stop or StopRequest())


def _executed(job: Job, stop: StopRequest) -> Finished:
    started = time.monotonic()
    plan = _plan(job)
    run, force = plan.run, job.settings.force
    if run.is_done() and not force:
        run.tidy()
        return read_finished(run, job)
    # Before the lock, so that a run that cannot begin leaves not even a lock file.
    execution = Execution(job, plan, stop)
    with run.lock():
        # Another process may have finished it in the meantime.
        done = run.is_done() and not force
        fresh = None if done else execution.finish(started)
    return read_finished(run, job) if fresh is None else judged(fresh, job)


def finished_before(job: Job) -> Path | None:
    """The folder of a job for which nothing is left to do, not even scoring, judging and what was promised to
    W&B, else None; no model is loaded to find out.

    Raises
    ------
    RunError, ModelError, MethodError, DataError
        As `execute`.
    """
    run = _plan(job).run
    done = run.is_done() and not job.settings.force and not is_promised(run.path)
    return run.path if done and job.judge.name == "none" and scoring_to_redo(run, job) is None else None


def _tokens_per_s(rows: Rows) -> float | None:
    return quotient(sum(map(decode_tokens, rows)), total(rows, "decode_s"))


def _check_batch(method: Method, batch_size: int) -> None:
    if method.max_batch is not None and batch_size > method.max_batch:
        raise RunError(
            f"batch_size={batch_size} is not supported by method={type(method).__module__.split('.')[-1]}: "
            f"it decodes at most {method.max_batch} at a time"
        )


class Execution:
    """One run while it goes on."""

    def __init__(self, job: Job, plan: _Plan, stop: StopRequest):
        self.job, self.stop = job, stop
        self.task, self.examples, self.run = task, examples, run = plan.task, plan.examples, plan.run
        conditions, settings = plan.conditions, job.settings
        say_left_out(task.skipped)
        say(f"Loading {job.model.name} (what is converted, compiled and measured once may take a minute)")
        # By its own name: what `auto` means may change with the threads.
        dtype, content = conditions["dtype"], conditions["model"]["revision"]
        keep_layout = plan.method.own_engine
        opened = (settings.device, job.engine, keep_layout, content, torch.get_num_threads())
        self.model = _model(job.model, dtype, *opened)
        products = self.model.stack.products
        if products.obstacle is not None:
            say(f"Decoding without compiled kernels, up to three times as slow: {products.obstacle}")
        if settings.dtype == "auto":
            say(f"dtype=auto chose {str(self.model.stack.dtype).removeprefix('torch.')}")
        # What `auto` meant for this model.
        conditions = {**conditions, "engine": [self.model.stack.layer_name, products.name]}
        self.conditions_id = identity.digest(conditions)
        # Beside transformers' own `generate`, weights lie as it has them.
        beside = [self.model.stack.layer_name, products.beside_transformers]
        self._hf_conditions_id = identity.digest({**conditions, "engine": beside})
        self._conditions = conditions
        self._file = task.load() if job.task.source == "file" else ()
        self.decoding = Decoding(
            model=self.model,
            sampler=settings.sampler,
            seed=settings.seed,
            max_new_tokens=plan.max_new_tokens,
            stop_strings=task.stop_strings,
            fixed_length=job.runner.fixed_length,
            hold_back=job.runner.first_token == "method",
        )
        self._halved = 0
        self._temperatures = any(one.temperature is not None for one in examples)
        if self._temperatures and settings.temperature:
            raise RunError(
                f"temperature={settings.temperature} has no effect: the task sets one for each category "
                "(task.temperatures=shared makes it use the run's)"
            )
        resumed = not settings.force and run.journal.path.exists()
        moment = partial(prompt_moment, run, job.runner.now, resumed=resumed)
        template = ChatTemplate(self.model.tokenizer, job.model.chat_template_kwargs, moment)
        encoder = PromptEncoder(self.model, template, settings, plan.max_new_tokens)
        # Every prompt is rendered before anything is solved or written: one that does not fit ends it here.
        prompts = [encoder.first(task, one) for one in examples]
        self._first_prompt = prompts[0]
        self._asked = {
            one.example_id: Asked(one.source_sha256, prompt.sha256, prompt.text)
            for one, prompt in zip(examples, prompts, strict=True)
        }
        self._moment, self._dates = template.dated, dict(template.written)
        if self._moment is not None:
            say(f"The chat template writes a date: {self._moment:%d %b %Y} (runner.now sets another)")
        elif job.runner.now is not None:
            raise RunError("runner.now has no effect: the chat template writes no date; leave it out")
        if job.model.chat_template_kwargs and isinstance(task.prompt(examples[0], 0, ()), str):
            raise RunError(
                "model.chat_template_kwargs has no effect: these prompts are no chats; leave it out"
            )
        reused = {}
        if job.runner.baseline == "reuse":
            reused = full_columns(run.root, self.conditions_id, self._asked)
        full = Full()
        full.bind(self.model.stack)
        plan.method.bind(self.model.stack)
        self.method, self.solution = prepared(
            job, plan.method, task, plan.calibration, self.decoding, encoder, conditions
        )
        self.pair = Pair(
            run_id=run.run_id,
            model=job.model.name,
            task=task,
            method_name=job.method_name,
            method=self.method,
            full=full,
            decoding=self.decoding,
            encoder=encoder,
            paired=job.runner.baseline == "paired",
            replayed=frozenset(
                one.example_id for one in spread(examples, job.runner.replay and job.runner.replay_examples)
            ),
            reused=reused,
        )

    def finish(self, started: float) -> Finished:
        """Answer what is missing, then write the results."""
        if self.job.settings.force or not self.run.journal.path.exists():
            self.run.reset()
        before = Progress.of(self.run)
        if before.first_rows and (changed := changed_prompt(before.first_rows, self._asked)):
            raise RunError(
                f"run {self.run.run_id} began with other prompts: {changed}; force=true begins it anew"
            )
        if before.first_rows and changed_code(self.run):
            raise RunError(
                f"run {self.run.run_id} began with other code of method={self.job.method_name}; force=true "
                "begins it anew"
            )
        self.run.start(self._config(), environment())
        self._halved = before.halved
        if before.state is not None:
            self.method.load_state(before.state)
        rows_at_once = min(self.job.settings.batch_size, len(self.examples))
        warm_up((self.pair.full, self.method), self.decoding, self._first_prompt, rows_at_once)
        setup_s = time.monotonic() - started
        energy = resources.EnergyMeter(self.model.stack.devices)
        self._answer(before.done)
        wall_s = before.spent_s + time.monotonic() - started
        facts = {**self._facts(), "setup_s": setup_s, "wall_s": wall_s}
        facts |= energy.facts(resumed=before.state is not None)
        beside = max(before.jobs_at_once, resources.jobs_at_once())
        facts |= {"halved_batches": self._halved, "jobs_at_once": beside}
        facts |= resources.peak_memory(self.model.stack.devices)
        give_entailment(self.task)
        rows = answered(self.run, self.task, self._asked)
        metrics = summarise(rows, facts, seed=self.job.settings.seed)
        metrics["speedup_vs_hf"] = self._versus_hf(rows, cache="dynamic")
        metrics["speedup_vs_hf_static"] = self._versus_hf(rows, cache="static")
        to = Destination.of(self.job.logger)
        promise(self.run.path, to)
        self.run.finish(rows, metrics)
        log_run(yaml.safe_load(self._config()), metrics, rows, self.run.path, to)
        suggest_none(to)
        return Finished(metrics, self.run.path, fresh=True)

    def _answer(self, done: Collection[str]) -> None:
        """Answer every batch that is not done yet; each is on disk before the next begins."""
        size = self.job.settings.batch_size
        seconds, tokens = 0.0, 0
        who = f"{self.job.method_name} and the full model" if self.pair.paired else self.job.method_name
        say(f"Answering {len(self.examples) - len(done)} examples with {who}")
        bar = Bar(len(self.examples), "example", initial=len(done), desc=self.job.method_name)
        live = Live.of(self.job.logger, self.run.path, len(self.examples), len(done))
        with contextlib.closing(bar), contextlib.closing(live):
            for number, part in enumerate(batches(self.examples, size)):
                if all(example.example_id in done for example in part):
                    continue
                self.stop.check()
                began = time.monotonic()
                fitted = fitted_rows(self.pair, part, number)
                new = fitted.rows
                wall_s = time.monotonic() - began
                self._halved += fitted.halved
                how = {"halved": fitted.halved, "jobs_at_once": resources.jobs_at_once()}
                self.run.append({"rows": new, "state": self.method.state(), "wall_s": wall_s, **how})
                bar.update(len(part))
                seconds += sum(row["decode_s"] or 0 for row in new)
                tokens += sum(map(decode_tokens, new))
                live.update(len(part), tokens / seconds if seconds else None)
                if seconds:
                    bar.set_postfix_str(f"{tokens / seconds:.1f} tokens/s")

    def _versus_hf(self, rows: Rows, cache: str) -> float | None:
        """Decode speed over that of transformers' `generate` with a kind of cache, where that answered the
        same examples under the same conditions."""
        if self.method.own_engine:
            return None
        other = covering_rows(self.run.root, self._hf_conditions_id, "hf_generate", self._asked, cache=cache)
        if other.rows is None:
            if other.obstacle is not None:
                say(f"Not compared with hf_generate: {other.obstacle}")
            return None
        return quotient(_tokens_per_s(rows), _tokens_per_s(list(other.rows.values())))

    def _config(self) -> str:
        job = self.job
        content = {
            "method": {"name": job.method_name, **dataclasses.asdict(job.method)},
            "task": dataclasses.asdict(job.task),
            **{
                group: dataclasses.asdict(getattr(job, group))
                for group in ("model", "engine", "runner", "judge", "logger")
            },
            **dataclasses.asdict(job.settings),
            "conditions_id": self.conditions_id,
            "method_code": method_code(job.method_name),
            "prompt_moment": None if self._moment is None else self._moment.isoformat(),
            "skipped_records": self.task.skipped,
        }
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

    def _facts(self) -> dict[str, Any]:
        """What the rows do not say."""
        job, method, stack = self.job, self.method, self.model.stack
        facts = {
            "run_id": self.run.run_id,
            "model": job.model.name,
            "model_revision": self.model.revision,
            "task": self.task.name,
            "task_version": str(self.task.version),
            "source": self.task.source_label,
            "prompt_style": self.task.prompt_style,
            "method": job.method_name,
            "method_params": self.pair.params_json,
            "lossless": method.lossless,
            "drawn": method.drawn,
            **declared_metrics(self.task),
            "untrained_ablation": method.trained_in_paper,
            "kv_policy": method.kv_policy,
            "batch_policy": method.batch_policy,
            "skip_in_prefill": False,
            "dtype": str(stack.dtype).removeprefix("torch."),
            "device": resources.device_name(stack.devices),
            "threads": torch.get_num_threads(),
            "batch_size": job.settings.batch_size,
            "max_new_tokens": self.decoding.max_new_tokens,
            "temperature": None if self._temperatures else job.settings.temperature,
            "seed": job.settings.seed,
            "limit": job.settings.limit,
            "engine_layer": stack.layer_name,
            "engine_product": stack.products.name,
            "conditions": identity.remaining(self._conditions, self._dates, self._file),
            "baseline": job.runner.baseline,
            "code_revision": code_revision(),
            "quality_metric": self.task.quality_metric,
            "hallucination_metric": self.task.hallucination_metric,
            "skipped_records": len(self.task.skipped),
            "nominal_skip": method.nominal_skip,
            "solved_parameter": None if method.solves is None else method.solves.name,
        }
        if self.solution is not None:
            facts |= {
                "nominal_skip": method.params.target_skip,
                "target_skip": method.params.target_skip,
                "target_unit": method.params.target_unit,
                "solved_value": self.solution.value,
                "calibration_skip": self.solution.skip,
            }
        return facts
