"""What every method keeps, whatever it does: the rows of `contract.py`, on every kind of family."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml
from contract import TABLE, Quantile

from exactness import assert_equal_up_to_near_ties
from methods.full import Full
from methods.shared.errors import MethodError
from methods.shared.method import Method
from methods.shared.profile import profile
from methods.shared.registry import method_class, names
from models.counters import ATTENTION, FFN
from models.sampling import Sampler
from tiny import (
    PROMPTS,
    batch_of,
    by_family,
    decode,
    decode_each,
    hf_generated,
    method_of,
    prompts_of,
    staggered_eos,
    tiny_stack,
)

ROOT = Path(__file__).resolve().parents[2]
DEPTH, NEW = 6, 14
CALIBRATION = prompts_of((9, 5, 12, 7), seed=1)
OFF = [(name, params) for name, row in TABLE.items() for params in row.off]
ON = [(name, params) for name, row in TABLE.items() for params in row.on]
LOSSLESS = [case for case in ON if method_class(case[0]).lossless]
LOSSY = [case for case in ON if case not in LOSSLESS]


def ready(family, name, params):
    """A method that knows what it has to know, on a model of six layers."""
    stack = tiny_stack(family, layers=DEPTH)
    if params.get("kv_policy") == "copy" and not stack.uniform_kv:
        pytest.skip("refused here: layers turn their keys differently")
    method = method_of(name, stack, **resolved(stack, name, params))
    if method.needs_calibration:
        # Two prompts at a time, as the runner does it: the next batch is made when the last one is done.
        method.calibrate(batch_of(stack, CALIBRATION[i : i + 2], new=8) for i in (0, 2))
    return method


def resolved(stack, name, params):
    """Parameters with numbers in place of quantiles, halfway between two values that occur."""
    found = dict(params)
    for key, value in params.items():
        if isinstance(value, Quantile):
            blind = method_of(name, stack, **{**params, key: None})
            signals = seen_by(blind, CALIBRATION).signals
            values = signals[signals.isfinite()].unique()
            place = int(value.share * (len(values) - 2))
            found[key] = float(values[place : place + 2].mean())
    return found


def seen_by(method, prompts):
    """What a method looks at in the full model's decode steps."""
    full = Full()
    full.bind(method.stack)
    with torch.inference_mode():
        return profile(full, [batch_of(method.stack, prompts, new=NEW)], method.signal)


def test_every_method_has_a_row():
    """One that is missing here would be tested by nothing."""
    assert set(TABLE) == set(names())
    for name, row in TABLE.items():
        cls = method_class(name)
        assert row.on or name in ("full", "hf_generate"), name
        assert row.off or cls.lossless, name
        assert row.refused or not dataclasses.fields(cls.Params), name


def test_every_file_is_one_method_with_a_configuration():
    files = {file.stem for file in (ROOT / "methods").glob("*.py")} - {"__init__"}
    assert set(names()) == files == {file.stem for file in (ROOT / "conf/method").glob("*.yaml")}
    for name in names():
        cls = method_class(name)
        written = yaml.safe_load((ROOT / f"conf/method/{name}.yaml").read_text(encoding="utf-8"))
        assert written.pop("name") == name
        defaults = dataclasses.asdict(cls.Params())
        assert written == defaults and list(map(type, written.values())) == [
            type(defaults[key]) for key in written
        ]
        assert cls.__doc__ and cls.Params.__dataclass_params__.frozen


@pytest.mark.parametrize(
    ("name", "key", "value"), [(name, *case) for name, row in TABLE.items() for case in row.refused]
)
def test_a_value_out_of_range_is_one_line_that_names_it(name, key, value):
    with pytest.raises(MethodError, match=key) as error:
        method_class(name).Params(**{key: value})
    assert "\n" not in str(error.value) and len(str(error.value)) < 250 and str(value) in str(error.value)


@pytest.mark.parametrize(("family", "name", "params"), by_family(OFF))
def test_off_is_the_full_model_bit_for_bit(family, name, params):
    check_off(family, name, params, torch.float32)


@pytest.mark.parametrize(("family", "name", "params"), by_family(OFF, first="llama"))
def test_off_is_the_full_model_bit_for_bit_in_bfloat16(family, name, params):
    check_off(family, name, params, torch.bfloat16)


def check_off(family, name, params, dtype):
    stack = tiny_stack(family, dtype, layers=DEPTH)
    method, full = method_of(name, stack, **params), method_of("full", stack)
    if method.needs_calibration:
        method.restore({key: [0.0] * DEPTH for key in method.calibration})
    got, wanted = decode(method, new=NEW), decode(full, new=NEW)
    assert got.outputs == wanted.outputs
    assert (got.attention_runs, got.ffn_runs) == (wanted.attention_runs, wanted.ffn_runs)
    assert all(torch.equal(one, other) for one, other in zip(got.logits, wanted.logits, strict=True))
    assert got.skipped_steps == [0] * len(PROMPTS)


@pytest.mark.parametrize(("family", "name", "params"), by_family(LOSSY))
def test_a_batch_is_its_rows_alone(family, name, params):
    """Unequal prompts whose rows end at different steps; work included."""
    method = ready(family, name, params)
    if method.max_batch == 1:
        pytest.skip("one sequence at a time")
    free = decode(method, new=NEW)
    if len({*map(tuple, free.outputs)}) < len(PROMPTS):
        pytest.skip("this random model says the same whatever it is asked")
    eos = staggered_eos(free.outputs)
    together, alone = decode(method, new=NEW, eos=eos), decode_each(method, new=NEW, eos=eos)
    assert together.outputs == alone.outputs and together.finish == alone.finish
    assert together.attention_runs == alone.attention_runs and together.ffn_runs == alone.ffn_runs
    assert together.skipped_steps == alone.skipped_steps
    if TABLE[name].unlike_full:
        assert together.outputs != decode(method_of("full", method.stack), new=NEW, eos=eos).outputs


@pytest.mark.parametrize(("family", "name", "params"), by_family(ON, first="llama"))
def test_work_is_counted_and_nothing_else(family, name, params):
    """A sub-layer runs at most once per decode step; some do not, and their steps are noted."""
    method = ready(family, name, params)
    answer = decode_each(method, new=NEW)
    left_out = 0
    for row, output in enumerate(answer.outputs):
        steps = len(output) - 1
        runs = [*answer.attention_runs[row], *answer.ffn_runs[row]]
        if method.lossless:
            assert not any(runs), "verified, not final"
            continue
        assert all(0 <= count <= steps for count in runs) and answer.skipped_steps[row] <= steps
        left_out += sum(steps - count for count in runs)
        if method.kv_policy != "defer":
            # What is deferred is run after all, with a later step.
            assert bool(answer.skipped_steps[row]) == (sum(runs) < 2 * DEPTH * steps)
    assert left_out or method.lossless or method.kv_policy == "defer"
    tally = method.stack.counters.tally("verified" if method.lossless else "final")
    assert method.stack.bytes_read("verified" if method.lossless else "final") > 0 and tally.head > 0


@pytest.mark.parametrize(("family", "name", "params"), by_family(LOSSLESS))
def test_a_lossless_method_says_what_the_full_model_says(family, name, params):
    """Greedy up to near ties, and sampled with the same random numbers; prompts that repeat themselves."""
    method = ready(family, name, params)
    full, prompts = method_of("full", method.stack), [prompt * 3 for prompt in PROMPTS[:3]]
    wanted = decode_each(full, prompts, new=24).outputs
    gaps = hf_generated(method.stack.model, prompts, 24).gaps
    assert_equal_up_to_near_ties(
        [
            (f"{family} {name} {row}", output, wanted[row], [gap < 1e-4 for gap in gaps[row]])
            for row, output in enumerate(decode_each(method, prompts, new=24).outputs)
        ]
    )
    sampler = Sampler(0.7, top_k=20, top_p=0.9)
    sampled = [decode_each(one, prompts, new=24, sampler=sampler).outputs for one in (method, full)]
    assert sampled[0] == sampled[1] != wanted


@pytest.mark.parametrize(("family", "name", "params"), by_family(ON, first="llama"))
def test_a_restart_changes_nothing(family, name, params):
    """What a method has learnt, on calibration prompts or from answers, survives as JSON."""
    method, prompts = ready(family, name, params), [prompt * 2 for prompt in PROMPTS[:2]]
    decode(method, prompts[:1], new=NEW)
    kept = json.loads(json.dumps([method.state(), method.calibration]))
    wanted = decode(method, prompts[1:], new=NEW)
    again = type(method)(method.params)
    again.bind(method.stack)
    if again.needs_calibration:
        again.restore(kept[1])
    again.load_state(kept[0])
    got = decode(again, prompts[1:], new=NEW)
    assert got.outputs == wanted.outputs and got.attention_runs == wanted.attention_runs
    assert got.ffn_runs == wanted.ffn_runs


@pytest.mark.parametrize(("family", "name", "params"), by_family([*OFF, *LOSSY], first="llama"))
def test_what_is_foretold(family, name, params):
    """Token runs in the full model's steps: all of them when off, and otherwise those of a method that looks
    at the full model's states."""
    method = ready(family, name, params)
    assert method.foretells
    seen = seen_by(method, PROMPTS)
    again = type(seen).of_json(json.loads(json.dumps(seen.as_json())))
    torch.testing.assert_close(again.signals, seen.signals, atol=1e-6, rtol=0, equal_nan=True)
    assert (
        (again.lengths, again.max_new_tokens) == (seen.lengths, seen.max_new_tokens) == ([NEW - 1] * 4, NEW)
    )
    runs, steps = method.predicted_runs(seen), sum(seen.lengths)
    assert runs.shape == (2, DEPTH) and bool(((runs >= 0) & (runs <= steps)).all())
    if params in TABLE[name].off:
        assert bool((runs == steps).all())
    elif type(method).forward is Method.forward:
        # Its plans do not depend on what is said.
        answer = decode(method, new=NEW)
        counted = [torch.tensor(kind).sum(0) for kind in (answer.attention_runs, answer.ffn_runs)]
        assert runs[ATTENTION].tolist() == counted[0].tolist() and runs[FFN].tolist() == counted[1].tolist()
    else:
        assert bool((runs < steps).any())
