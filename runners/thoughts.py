"""What a reasoning model writes before its answer, kept apart from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What begins thoughts and what ends them: DeepSeek-R1, Qwen3, SmolLM3 and most others; Magistral; Kimi; Seed;
# gpt-oss; others' words for the same.
MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reason>", "</reason>"),
    ("<reflection>", "</reflection>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Thoughts:
    """The part of an output that comes before its answer.

    Attributes
    ----------
    text : str
        Without the marks around it.
    tokens : int
        Of the output, with those of the marks.
    rest : str
        What its last token says of the answer already.
    ended : bool
        The answer follows; False: the output ends within the thoughts.
    """

    text: str
    tokens: int
    rest: str
    ended: bool


def thoughts_of(ids: Sequence[int], prompt: str, decode: Decode) -> Thoughts | None:
    """The thoughts with which an output begins; None: it has none.

    They begin with an opening mark, in the output or at the end of the prompt (some templates write it), or
    are known by a closing mark alone.

    Parameters
    ----------
    ids : sequence of int
        The output.
    prompt : str
    decode : callable
        Ids to text, with special tokens: to some tokenizers the marks are such.
    """
    text = decode(ids)
    # A mark that begins them outranks any other's end within them.
    for opening, closing in sorted(MARKS, key=lambda marks: not text.lstrip().startswith(marks[0])):
        begun = text.lstrip().startswith(opening)
        if closing in text and (begun or opening not in text.partition(closing)[0]):
            count = _tokens_until(closing, ids, decode)
            said, _, rest = decode(ids[:count]).partition(closing)
            return Thoughts(_bare(said, opening), count, rest, ended=True)
        if begun or prompt.rstrip().endswith(opening):
            return Thoughts(_bare(text, opening), len(ids), "", ended=False)
    return None


def text_behind(thoughts: Thoughts | None, ids: Sequence[int], decode: Decode) -> str:
    """What an output says behind its thoughts, or as a whole; `decode` leaves special tokens out."""
    return decode(ids) if thoughts is None else thoughts.rest + decode(ids[thoughts.tokens :])


def answer_in(text: str) -> str:
    """What a text says after the thoughts with which it begins; nothing if it ends within them."""
    found = thoughts_of([ord(character) for character in text], "", lambda codes: "".join(map(chr, codes)))
    return text if found is None else text[found.tokens :]


def _bare(text: str, opening: str) -> str:
    return text.strip().removeprefix(opening).strip()


def _tokens_until(mark: str, ids: Sequence[int], decode: Decode) -> int:
    """The least number of tokens whose text holds a mark that the text of all holds."""
    low, high = 1, len(ids)
    while low < high:
        middle = (low + high) // 2
        if mark in decode(ids[:middle]):
            high = middle
        else:
            low = middle + 1
    return low
