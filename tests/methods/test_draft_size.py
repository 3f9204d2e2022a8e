"""Only what pays is verified, and the output stays the full model's."""

import pytest

import methods.shared.drafter as drafter
from methods.shared.draft import Draft
from methods.shared.draft_size import SIZES, DraftSize, PassCurve, measured_curve
from methods.shared.errors import MethodError
from tiny import DISTINCT, PROMPTS, decode, decode_each, method_of, tiny_stack

# Two tokens cost as much as one, four twice as much, and then it is flat: the shape measured in float32.
CURVE = PassCurve((1, 2, 4, 64), (1.0, 1.0, 2.0, 2.0))
# A root with two children; the first has a child of its own.
TREE = Draft([5, 6, 7], [-1, -1, 0], [0.6, 0.3, 0.9])


def test_the_curve_between_and_beyond_what_was_measured():
    curve = PassCurve((1, 2, 4), (1.0, 1.5, 2.5))
    assert [curve.at(tokens) for tokens in (1, 2, 3, 4, 6)] == [1.0, 1.5, 2.0, 2.5, 3.5]


def test_a_free_second_token_is_verified_and_a_dear_third_is_not():
    chain = Draft.chain([1, 2, 3], 0.7)
    assert DraftSize(CURVE).cut(chain, spent=0.0).tokens == [1]
    # 1 + .99 + .98 + .97 tokens in the time of two.
    assert DraftSize(CURVE).cut(Draft.chain([1] * 20, 0.99), spent=0.0).depth == 20
    assert not DraftSize(PassCurve((1, 2), (1.0, 2.0))).cut(Draft.chain([1, 2, 3], 0.7), spent=0.0).tokens


def test_what_a_draft_has_cost_already_makes_verifying_more_worth_while():
    """Per second, the pass is the smaller part of a dear draft."""
    flat = PassCurve((1, 2, 3), (1.0, 1.5, 2.0))
    chain = Draft.chain([1, 2], 0.6)
    assert DraftSize(flat).cut(chain, spent=0.0).depth == 1
    assert DraftSize(flat).cut(chain, spent=9.0).depth == 2


def test_the_surest_part_of_a_tree_is_a_tree():
    """.6, .54 below it, and .3 beside it."""
    three = PassCurve((1, 3, 4), (1.0, 1.0, 9.0))
    assert DraftSize(three).cut(TREE, spent=0.0) == Draft([5, 7], [-1, 0], [0.6, 0.9])
    four = PassCurve((1, 4), (1.0, 1.0))
    assert DraftSize(four).cut(TREE, spent=0.0) == TREE


def test_chances_are_learnt_from_what_was_right():
    size = DraftSize(CURVE)
    assert size.chance(0.6) == pytest.approx(0.6)
    for _ in range(100):
        # The token below the root was 6, which had .3; nothing is known below a token that was wrong.
        size.learn(TREE, [6])
    assert size.chance(0.6) < 0.05 and size.chance(0.3) > 0.9
    assert size.chance(0.9) == pytest.approx(0.9)
    for _ in range(100):
        size.learn(TREE, [5, 8])
    assert size.chance(0.9) < 0.1


def test_a_draft_goes_deeper_while_its_passes_are_worth_it():
    size = DraftSize(CURVE)
    assert size.deeper(0.01), "nothing is known of its cost yet"
    size.cut(Draft.chain([1, 2], 0.5), spent=1.0)
    assert size.deeper(0.51) and not size.deeper(0.49)


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("method", ["prompt_lookup", "swift"])
def test_the_output_stays_the_same(name, method, monkeypatch):
    stack = tiny_stack(name)
    prompts = [prompt * 3 for prompt in PROMPTS]
    wanted = decode_each(method_of("full", stack), prompts, new=24).outputs
    paper = decode_each(method_of(method, stack), prompts, new=24)
    monkeypatch.setattr(drafter, "measured_curve", lambda stack: CURVE)
    cost = method_of(method, stack, size="cost")
    for prompt, output in zip(prompts, wanted, strict=True):
        assert decode(cost, [prompt], new=24).outputs == [output]
        sizes = cost.columns(0)["verified_tokens"]
        assert sum(cost.columns(0)["accepted_lengths"]) == len(output) - 1
        assert max(sizes) > 1
    assert paper.outputs == wanted


def test_a_resumed_method_learns_anew_and_keeps_the_curve(monkeypatch):
    monkeypatch.setattr(drafter, "measured_curve", lambda stack: CURVE)
    method = method_of("prompt_lookup", tiny_stack("llama"), size="cost")
    for _ in range(100):
        method.size.learn(TREE, [6])
    method.load_state(method.state())
    assert method.size.chance(0.6) == pytest.approx(0.6) and method.size.curve is CURVE


def test_the_curve_is_measured_at_every_size():
    now = iter(range(10**6))
    curve = measured_curve(tiny_stack("llama"), clock=lambda: float(next(now)))
    assert curve == PassCurve(SIZES, [1.0] * len(SIZES))


def test_an_unknown_size_is_refused():
    with pytest.raises(MethodError, match="size=huge is unknown"):
        method_of("prompt_lookup", tiny_stack("llama"), size="huge")
