"""The tokenizer of a GGUF file: how it splits words, what it adds to a text, which tokens end an answer."""

from typing import Any

from models.errors import ModelError
from models.gguf_metadata import Metadata

_TOKENS = "tokenizer.ggml."
# By a tokenizer's names of its special tokens, those of a GGUF's numbers.
_SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_READ = {
    *("model", "pre", "tokens", "token_type", "scores", "merges", "add_bos_token", "add_space_prefix"),
    *(f"{name}_token_id" for name in (*_SPECIAL.values(), "eot", "eom")),
}
# Not used when text is continued. An end token behind a prompt would end it: none is ever added.
_UNUSED = {
    *("add_eos_token", "token_type_count", "precompiled_charsmap"),
    *(f"fim_{part}_token_id" for part in ("pre", "suf", "mid", "pad", "rep", "sep")),
    *(f"{part}_token_id" for part in ("prefix", "suffix", "middle", "seperator", "cls", "mask")),
}
_NEUTRAL = {"add_sep_token": False, "remove_extra_whitespaces": False}
# What these are where a file of a tokenizer that merges pieces by their scores does not say.
_USUAL = {"bos": 1, "eos": 2, "unknown": 0}
# A converter's way to say that there is no such token.
_NONE = 2**32 - 1
# Ends of a turn that llama.cpp knows by their text, where a file names none.
_END_OF_TURN = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|eom_id|>", "<EOT>", "_<EOT>"),
    *("<|END_OF_TURN_TOKEN|>", "<end_of_utterance>"),
)
_CONTROL = 3

# Where words are split before pairs of bytes are merged, by the name that a file gives: llama.cpp,
# src/llama-vocab.cpp. `gpt2` stands for GPT-2's own rule.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_SLASHED}"
_GPT4O = rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_SLASHED}"
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")
_SPLITS: dict[str, tuple[str, ...]] = {
    "default": _DEFAULT,
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat"), (_GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), (r"\p{N}", _GPT2)),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "dbrx", "smaug-bpe"), (_LLAMA3,)),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"), (_QWEN2,)),
    "tekken": (_TEKKEN,),
    **dict.fromkeys(("gpt-4o", "llama4"), (_GPT4O,)),
}


def check_tokens(metadata: Metadata) -> None:
    """Refuse a tokenizer that the converter does not know as a whole.

    Raises
    ------
    ModelError
        By the name of the key.
    """
    for name in metadata.names("tokenizer"):
        key = f"tokenizer.{name}"
        if name.startswith(("chat_template", "huggingface.json")):
            continue
        short = name.removeprefix("ggml.")
        if short in _NEUTRAL and metadata.get(key) == _NEUTRAL[short]:
            continue
        if not name.startswith("ggml.") or short not in _READ | _UNUSED:
            metadata.refuse(key)
    kind = metadata.get(f"{_TOKENS}model", "gpt2")
    if kind not in ("gpt2", "llama"):
        metadata.refuse(f"{_TOKENS}model")
    if kind == "gpt2" and metadata.get(f"{_TOKENS}pre", "default") not in _SPLITS:
        metadata.refuse(f"{_TOKENS}pre", "a rule for splitting words that is not known")
    _special(metadata)


def end_tokens(metadata: Metadata) -> list[int]:
    """Tokens that end an answer: the end of text, of a turn, and of a message."""
    found = {_token(metadata, name) for name in ("eos", "eot", "eom")}
    if _token(metadata, "eot") is None:
        tokens, kinds = (metadata.get(f"{_TOKENS}{name}", []) for name in ("tokens", "token_type"))
        control = {number for number, kind in enumerate(kinds) if kind == _CONTROL}
        found |= {number for number in control if tokens[number] in _END_OF_TURN}
    return sorted(number for number in found if number is not None)


def set_special(config: Any, metadata: Metadata) -> None:
    """Give a config the special tokens of a file, and none that its class would have instead."""
    special = _special(metadata)
    for name in ("bos", "eos", "pad"):
        setattr(config, f"{name}_token_id", special.get(name))


def adjust_tokenizer(tokenizer: Any, metadata: Metadata) -> Any:
    """A tokenizer that transformers has made of a GGUF, with what that leaves out.

    Raises
    ------
    ModelError
        It puts a space before a text, or none, against what the file says.
    """
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    # transformers 5.17 takes the first token of a text for its last.
    for name, number in _special(metadata).items():
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(number))
    # A tidying for other kinds of tokenizers; some releases ask for it, and warn that they will not.
    tokenizer.clean_up_tokenization_spaces = False
    if metadata.get(f"{_TOKENS}model", "gpt2") == "gpt2":
        splits = [Split(Regex(rule), "isolated") for rule in _SPLITS[metadata.get(f"{_TOKENS}pre", "gpt-2")]]
        bytewise = ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([*splits, bytewise])
    else:
        begins = tokenizer.tokenize("a")[:1] in (["▁a"], ["▁"])
        if metadata.get(f"{_TOKENS}add_space_prefix", begins) != begins:
            metadata.refuse(f"{_TOKENS}add_space_prefix")
    _set_beginning(tokenizer, metadata)
    return tokenizer


def _set_beginning(tokenizer: Any, metadata: Metadata) -> None:
    """The token before a text, and none behind it: a prompt is a text that goes on."""
    from tokenizers.processors import TemplateProcessing

    begins = metadata.get(f"{_TOKENS}add_bos_token", metadata.get(f"{_TOKENS}model") == "llama")
    token, number = tokenizer.bos_token, tokenizer.bos_token_id
    if begins and number is None:
        metadata.refuse(f"{_TOKENS}add_bos_token", "there is no such token")
    single = f"{token}:0 $A:0" if begins else "$A:0"
    special = [(token, number)] if begins else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)


def check_tokenizer(tokenizer: Any, before: Any, file: Any) -> None:
    """Check that a stored tokenizer is the one that was stored: its class may have ideas of its own.

    Raises
    ------
    ModelError
    """
    probe = "It is 1945, isn't it?  Yes!\n日本 ½"
    if tokenizer(probe)["input_ids"] != before(probe)["input_ids"]:
        raise ModelError(f"{file}: its tokenizer cannot be converted; give the original model")


def _special(metadata: Metadata) -> dict[str, int]:
    """Numbers of the special tokens that a GGUF names, by a tokenizer's names for them."""
    found = {name: _token(metadata, known) for name, known in _SPECIAL.items()}
    return {name: number for name, number in found.items() if number is not None}


def _token(metadata: Metadata, name: str) -> int | None:
    key = f"{_TOKENS}{name}_token_id"
    scored = metadata.get(f"{_TOKENS}model") == "llama"
    number = metadata.get(key, _USUAL.get(name) if scored else None)
    if number is None or number in (_NONE, -1):
        return None
    if not isinstance(number, int) or not 0 <= number < metadata.length(f"{_TOKENS}tokens"):
        metadata.refuse(key, "it is no token's number")
    return number
