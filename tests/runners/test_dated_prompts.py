"""Prompts that change by themselves: one moment for a run and a results folder, and whatever else changes is
said."""

import json
import re

import pytest
import yaml
from tiny_model import TEMPLATE, save_model

from models.chat import ChatTemplate
from models.errors import ModelError
from runners import moment
from runners.errors import RunError
from runners.moment import prompt_moment
from runners.storage import RunFolder

DATED = "{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}" + TEMPLATE
FULL = ("method=full", "runner.baseline=none", "limit=2", "max_new_tokens=6")


class Calendar:
    """A clock that stands still until it is set."""

    day = 1

    @classmethod
    def now(cls):
        return moment.datetime.fromisoformat(f"2026-11-{cls.day:02d}T12:00")


@pytest.fixture
def dated(bench, tmp_path, monkeypatch):
    folder = tmp_path / "dated"
    save_model(folder)
    (folder / "chat_template.jinja").write_text(DATED)
    bench.model = folder

    class Frozen(moment.datetime):
        @classmethod
        def now(cls):
            return cls(2026, 11, Calendar.day, 12)

    Calendar.day = 1
    monkeypatch.setattr(moment, "datetime", Frozen)
    return bench


def dates(rows):
    return {re.search(r"Today: (.*)", row["prompt"])[1] for row in rows}


def test_runs_of_a_results_folder_have_one_date_and_find_each_other(dated):
    assert dates(dated.rows(*FULL)) == {"01 Nov 2026"}
    Calendar.day = 2
    skipping = ("method=ffnskip", "method.threshold=0.9", "limit=2", "max_new_tokens=6")
    assert dates(dated.rows(*skipping, "runner.baseline=reuse")) == {"01 Nov 2026"}
    generate = ("method=hf_generate", "runner.baseline=none", "limit=2", "max_new_tokens=6")
    dated.run(*generate)
    finished = dated.run(*skipping, "runner.baseline=paired", "seed=0")
    assert finished.metrics["speedup_vs_hf"] is None or finished.metrics["speedup_vs_hf"] > 0
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    assert config["prompt_moment"] == "2026-11-01T12:00:00"


def test_another_date_by_hand(dated, capfd):
    dated.run(*FULL)
    assert dates(dated.rows(*FULL, "runner.now=2026-12-24")) == {"24 Dec 2026"}
    reuse = ("method=ffnskip", "method.threshold=0.9", *FULL[2:], "runner.baseline=reuse")
    assert dates(dated.rows(*reuse)) == {"01 Nov 2026"}
    with pytest.raises(RunError, match=r"has other prompts: that of example .* was '.*' and is '.*2031"):
        dated.run(*reuse, "runner.now=2031-01-01")
    one, other = (dated.run(*FULL, *more).metrics["conditions"] for more in ((), ("runner.now=2031-01-01",)))
    assert one != other, "their rows stand in tables of their own"
    same = dated.run(*FULL, "runner.now=2026-11-01T23:59").metrics["conditions"]
    assert one == same, "another hour of the date that the prompts name"
    spellings = ("2031-01-01", "2031-01-01T00:00", "20310101")
    assert len({dated.run(*FULL, f"runner.now={one}").metrics["run_id"] for one in spellings}) == 1
    with pytest.raises(RunError, match=r"runner.now='soon' is no date; write it as 2026-11-27"):
        dated.run(*FULL, "runner.now=soon")


def test_a_date_that_no_template_writes(bench):
    with pytest.raises(RunError, match=r"runner.now has no effect"):
        bench.run(*FULL, "runner.now=2026-12-24")


def test_resumed_the_next_day(dated):
    """With the date of its beginning, even where the results folder has forgotten it."""
    run = RunFolder(dated.results, "some-run")
    run.start(
        yaml.safe_dump({"method": {"name": "full"}, "task": {"name": "x"}, "prompt_moment": "2026-11-03"}), {}
    )
    assert prompt_moment(run, None, resumed=True).day == 3
    assert prompt_moment(run, None, resumed=False).day == 1
    (run.root / moment.FILE).write_text("yesterday")
    with pytest.raises(RunError, match="is no date"):
        prompt_moment(run, None, resumed=False)


def test_a_stored_moment_that_is_none_is_not_the_template_s_fault(dated):
    dated.results.mkdir()
    (dated.results / moment.FILE).write_text("yesterday")
    with pytest.raises(
        RunError, match=rf"^{re.escape(str(dated.results / moment.FILE))}='yesterday' is no date"
    ):
        dated.run(*FULL)


def test_two_jobs_begin_at_once(dated):
    """Whoever stores the moment first has chosen it for both."""
    dated.results.mkdir()
    path = dated.results / moment.FILE
    first = moment._first(path, moment.datetime(2026, 11, 1))
    assert moment._first(path, moment.datetime(2026, 11, 2)) == first
    assert not list(dated.results.glob(f"{moment.FILE}.*"))


def test_prompts_that_changed_since_the_run_began(bench):
    """Whatever changed them: here somebody has altered what the journal says was asked."""
    given = ("method=ffnskip", "method.threshold=0.9", "runner.baseline=none", "limit=3", "max_new_tokens=6")
    whole = bench.run(*given)
    rows = bench.rows(*given)
    journal = whole.folder / "journal.jsonl"
    (whole.folder / "DONE").unlink()
    row = {**rows[0], "prompt": "Yesterday " + rows[0]["prompt"], "prompt_sha256": "0" * 64}
    journal.write_text(json.dumps({"rows": [row], "state": {}, "wall_s": 1.0}, default=str) + "\n")
    with pytest.raises(
        RunError, match=r"began with other prompts: .* was 'Yesterday .* force=true begins it anew"
    ):
        bench.run(*given)
    assert journal.exists(), "nothing is lost"
    bench.run(*given, "force=true")


class _Tokenizer:
    """A template that is a function of nothing but itself."""

    def __init__(self, *texts):
        self.chat_template, self._texts = "{{ random_word }}", iter(texts)

    def get_chat_template(self):
        return self.chat_template

    def apply_chat_template(self, messages, tokenize, add_generation_prompt, **options):
        return next(self._texts)


def test_a_template_that_is_random():
    with pytest.raises(ModelError, match="writes another text each time"):
        ChatTemplate(_Tokenizer("a", "b")).render([])
    assert ChatTemplate(_Tokenizer("a", "a")).render([]) == "a"


def test_options_of_a_template_that_is_not_used(dated):
    fewshot = (*FULL, "task.prompt=fewshot", "model.chat_template_kwargs={messages_of:1}")
    template = dated.model / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if messages_of %}{% endif %}")
    with pytest.raises(RunError, match=r"chat_template_kwargs has no effect: these prompts are no chats"):
        dated.run(*fewshot)


def test_templates_of_which_none_is_the_default():
    tokenizer = _Tokenizer("a", "a")
    tokenizer.chat_template = {"tool_use": "{{ x }}", "rag": "{{ y }}"}
    # A prompt without a chat needs none.
    template = ChatTemplate(tokenizer)
    with pytest.raises(ModelError, match=r"\(tool_use, rag\) and none for others; name one of them default"):
        template.render([])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"enable_thinking": False}, "enable_thinking has no effect: the chat template does not name it"),
        ({"messages": []}, "messages is not for users to set"),
        ({"strftime_now": 1}, "strftime_now is not for users to set"),
    ],
)
def test_options_that_a_template_does_not_take(options, match):
    with pytest.raises(ModelError, match=match):
        ChatTemplate(_Tokenizer(), options)
