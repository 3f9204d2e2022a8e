"""Where does self-drafting cross 1x? By the times of passes, and by a draft that is right as often as told.

    python scripts/bench_breakeven.py [--depths 15,30,60] [--widths 576,1152] [--accept 0.5,0.7,0.9]

Random weights in the shape of the default model. A draft leaves out SWIFT's first set of sub-layers (the odd
layers); its passes are really run, but what it proposes is drawn: each token is the full model's with the
given chance. Prints, for every depth and width, the cost of a draft pass and of verifying, in plain steps;
the least acceptance at which the best length of a chain pays, by arithmetic; and at some acceptances the
speedup foretold for the best length beside the measured one. Needs torch and transformers only.
"""

import argparse
import random
import statistics

import torch
from bench_scaling import Point, stack_of
from benchmarking import bound, decoded, random_prompts

from methods.shared.draft import Draft
from methods.shared.draft_size import PassCurve, measured_curve
from methods.shared.drafter import Drafter
from methods.shared.method import Method
from methods.shared.self_draft import self_draft
from methods.shared.skip_search import odd_layers, plan_without
from models.batch import Batch
from models.dtypes import DTYPES
from models.stack import Stack

LENGTHS = range(1, 9)


class Told(Drafter):
    """A self-draft whose proposals are right with a given chance, because it knows the answer."""

    def tell(self, answer: list[int], accept: float, length: int) -> None:
        """What the full model is going to say, how often to say the same, and how far ahead."""
        self.answer, self.accept, self.length = answer, accept, length
        self.scratch, self.drawn = length, random.Random(0)

    def draft(self, batch: Batch, limit: int) -> Draft:
        depth = min(self.length, limit)
        plan = plan_without(odd_layers(len(self.stack.layers)), len(self.stack.layers))
        self_draft(batch, plan, depth, threshold=0.0, widths=(1, 1, 1, 1))
        done = len(batch.outputs[0])
        right = self.answer[done : done + depth]
        return Draft.chain([token if self.drawn.random() < self.accept else token + 1 for token in right])


def expected(accept: float, length: int) -> float:
    """Tokens of a pass that verifies a chain, its own included."""
    return sum(accept**place for place in range(length + 1))


def foretold(passes: PassCurve, draft: float, accept: float) -> tuple[float, int]:
    """Best speedup over plain steps, and the length that gives it; times in plain steps."""
    return max((expected(accept, n) / (n * draft + passes.at(n + 1)), n) for n in LENGTHS)


def breakeven(passes: PassCurve, draft: float) -> float | None:
    """The least acceptance that pays; None: not even 1 does."""
    paying = [share / 100 for share in range(101) if foretold(passes, draft, share / 100)[0] > 1]
    return min(paying, default=None)


def per_token(method: Method, prompt: list[int], tokens: int) -> float:
    """Seconds of a token."""
    batch, watch = decoded(method, [prompt], tokens)
    return watch.decode_s / (len(batch.outputs[0]) - 1)


def costs(stack: Stack, prompt: list[int], answer: list[int], tokens: int) -> tuple[PassCurve, float]:
    """Times of passes over some tokens and of one of a draft, in plain steps."""
    measured = measured_curve(stack)
    told = Told()
    told.bind(stack)
    told.tell(answer, 1.0, 4)
    for _ in range(2):
        per_token(told, prompt, tokens)
    plain, drafting = measured.at(1), told.draft_s / told.drafted
    return PassCurve(measured.sizes, [s / plain for s in measured.seconds]), drafting / plain


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", default="15,30,60")
    parser.add_argument("--widths", default="576,1152")
    parser.add_argument("--accept", default="0.5,0.7,0.9")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    print(f"{given.dtype}, {given.device}, {torch.get_num_threads()} threads, {given.repeats} rounds")
    for width in map(int, given.widths.split(",")):
        for depth in map(int, given.depths.split(",")):
            stack = stack_of(Point(depth=depth, width=width), DTYPES[given.dtype], given.device)
            prompt = random_prompts(stack, 1, 128)[0]
            full = bound(stack, "full")
            answer = decoded(full, [prompt], given.tokens)[0].outputs[0]
            passes, draft = costs(stack, prompt, answer, given.tokens)
            least = breakeven(passes, draft)
            print(
                f"depth {depth:3} width {width:5}  a draft pass {draft:.2f}  verifying 2, 4, 8 tokens "
                f"{passes.at(2):.2f} {passes.at(4):.2f} {passes.at(8):.2f}  pays from acceptance "
                f"{'never' if least is None else f'{least:.2f}'}"
            )
            for accept in map(float, given.accept.split(",")):
                speed, length = foretold(passes, draft, accept)
                told = Told()
                told.bind(stack)
                rounds = []
                for _ in range(given.repeats):
                    told.tell(answer, accept, length)
                    plain = per_token(full, prompt, given.tokens)
                    rounds.append(plain / per_token(told, prompt, given.tokens))
                print(
                    f"    acceptance {accept:.2f}, {length} drafted: foretold {speed:.2f}, measured "
                    f"{statistics.median(rounds):.2f} ({min(rounds):.2f} to {max(rounds):.2f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
