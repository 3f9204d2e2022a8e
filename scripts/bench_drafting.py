"""What drafting gains or costs: lossless methods beside the full model and `generate`, in rounds.

    python scripts/bench_drafting.py [--prompts FILE] [--tokens 96] [--limit 8] [--dtype float32]

Decodes prompts (one JSON object a line with `turns`, `question` or `article`; a few built-in ones by default)
with each method in turn. Prints tokens a second, their ratio to the full model and to transformers'
`generate`, how many outputs are the full model's, acceptance, tokens a pass, and the shares of the time that
drafts and a search took. *Predicted / verifying* is the time of the verifying passes that the k-token curve
(`bench_passes.py`, measured in the same process) gives for their sizes, over the time they took. Needs torch
and transformers only, and scikit-learn for SWIFT's Bayesian step.
"""

import argparse
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from bench_passes import TOKENS
from benchmarking import DEFAULT, bound, decoded

from methods.shared.draft_size import measured_curve
from models.loading import EngineConfig, LoadedModel, ModelConfig, load_model

SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full", {}),
    "generate": ("hf_generate", {}),
    "prompt_lookup": ("prompt_lookup", {}),
    "prompt_lookup, by cost": ("prompt_lookup", {"size": "cost"}),
    "swift": ("swift", {}),
    "swift, chain": ("swift", {"widths": [1, 1, 1, 1]}),
    "swift, no search": ("swift", {"search": "off"}),
    "swift, chain, no search": ("swift", {"search": "off", "widths": [1, 1, 1, 1]}),
    "swift, no search, by cost": ("swift", {"search": "off", "size": "cost"}),
    "and stopped when losing": ("swift", {"search": "off", "size": "cost", "stop_when_losing": True}),
}
PROMPTS = (
    "Explain in a few sentences why the sky is blue.",
    "Write a short story about a lighthouse keeper who finds a letter.",
    "Repeat this sentence three times: The quick brown fox jumps over the lazy dog.",
    "List five countries in Africa and the capital of each.",
)


@dataclass
class Tally:
    """What one side did."""

    seconds: float = 0.0
    tokens: int = 0
    search_s: float = 0.0
    draft_s: float = 0.0
    sizes: list[int] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    lengths: list[int] = field(default_factory=list)
    outputs: list[list[int]] = field(default_factory=list)


def prompts_of(path: Path | None, limit: int) -> list[str]:
    """The first turns, questions or articles of a file."""
    if path is None:
        return list(PROMPTS)[:limit]
    found = []
    for line in path.read_text(encoding="utf-8").splitlines()[:limit]:
        record = json.loads(line)
        if "turns" in record:
            found.append(record["turns"][0])
        elif "article" in record:
            found.append(f"Summarize this article in two sentences.\n\n{record['article']}")
        else:
            found.append(record["question"])
    return found


def encoded_prompts(model: LoadedModel, path: Path | None, limit: int, longest: int) -> list[list[int]]:
    """The same as chats in token ids; of a longer one the end."""
    found = []
    for text in prompts_of(path, limit):
        chat = [{"role": "user", "content": text}]
        ids = model.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        found.append(list(ids)[-longest:])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--max-prompt", type=int, default=1024)
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    config = ModelConfig(name="bench", path=given.model)
    model = load_model(config, dtype=given.dtype, device=given.device, engine=EngineConfig())
    prompts = encoded_prompts(model, given.prompts, given.limit, given.max_prompt)
    tallies = {name: Tally() for name in SIDES}
    methods = {name: bound(model.stack, method, params) for name, (method, params) in SIDES.items()}
    for method in methods.values():
        decoded(method, prompts[:1], 4, eos=model.eos)
    # A search goes on from one prompt to the next, and from one round to the next.
    for _ in range(given.repeats):
        for number, ids in enumerate(prompts):
            order = list(SIDES) if number % 2 == 0 else list(reversed(SIDES))
            for name in order:
                batch, watch = decoded(methods[name], [ids], given.tokens, eos=model.eos, name=str(number))
                tally, columns = tallies[name], methods[name].columns(0)
                tally.seconds += watch.decode_s
                tally.tokens += len(batch.outputs[0]) - 1
                tally.search_s += columns.get("search_s", 0.0)
                tally.draft_s += columns.get("draft_s", 0.0)
                tally.sizes += columns.get("verified_tokens", [])
                tally.drafted += columns.get("drafted", 0)
                tally.accepted += columns.get("accepted", 0)
                tally.lengths += columns.get("accepted_lengths", [])
                tally.outputs.append(batch.outputs[0])
    full = tallies["full"]
    # Behind as many tokens as a prompt has on average, and half an answer.
    behind = sum(map(len, prompts)) // len(prompts) + given.tokens // 2
    passes = measured_curve(model.stack, TOKENS, behind, rounds=7)
    print(
        f"{given.model.rpartition('/')[2]}, {model.stack.dtype}, {model.stack.device}, "
        f"{torch.get_num_threads()} threads, {len(prompts)} prompts, at most {given.tokens} tokens"
    )
    baselines = [tallies[name].tokens / tallies[name].seconds for name in ("full", "generate")]
    for name, tally in tallies.items():
        rate = tally.tokens / tally.seconds
        same = sum(a == b for a, b in zip(tally.outputs, full.outputs, strict=True))
        line = f"{name:26} {rate:6.1f} tokens/s  / full {rate / baselines[0]:5.2f}  "
        line += f"/ generate {rate / baselines[1]:5.2f}  same {same}/{len(full.outputs)}"
        if tally.drafted:
            verifying = tally.seconds - tally.draft_s - tally.search_s
            predicted = sum(map(passes.at, tally.sizes))
            line += (
                f"  acceptance {tally.accepted / tally.drafted:.2f}  tokens a pass "
                f"{statistics.mean(tally.lengths):.2f}  draft {tally.draft_s / tally.seconds:.0%}  "
                f"search {tally.search_s / tally.seconds:.0%}  "
                f"predicted / verifying {predicted / verifying:.2f}"
            )
        print(line)


if __name__ == "__main__":
    main()
