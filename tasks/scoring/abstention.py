"""Recognises answers in which the model declines to answer.

Only statements of the speaker about itself ("I don't know", "I cannot answer") or about the question ("the
question does not specify") count. A claim such as "the author is unknown" is an answer. Quoted titles are
ignored, and a guess that follows ("I'm not sure, but I think …") makes the answer an attempt.
"""

import re

_ADVERBS = r"(?:(?:really|actually|currently|honestly|just|simply|still|also|personally|unfortunately) )*"
_NOT = r"(?:do not|don't|did not|didn't)"
_I_AM = rf"\bi(?: am|'m) {_ADVERBS}"
_CANNOT = (
    rf"(?:\bi {_ADVERBS}(?:cannot|can't|can not|could not|couldn't)"
    rf"|{_I_AM}(?:unable to|not able to|not capable of|incapable of))"
)
_ANSWERING = (
    r"(?:answer|provid|say\b|determin|find|recall|remember|confirm|verify|identify|give|giving|tell you"
    r"|help (?:you|with)|assist|comply|access|browse)"
)
_KNOWLEDGE = (
    r"(?:information|knowledge|data|details|access|answers?|idea|clue|memory|records?|ability|capability"
    r"|capacity|context|personal)"
)

_ABSTENTIONS = (
    rf"\bi {_ADVERBS}{_NOT} {_ADVERBS}(?:know|recall|remember)\b",
    rf"{_I_AM}(?:not (?:\w+ )?(?:sure|certain|aware|familiar)|unsure|uncertain|unaware|unfamiliar)\b",
    rf"{_CANNOT} (?:\w+ly )?{_ANSWERING}",
    rf"\bi {_ADVERBS}{_NOT} {_ADVERBS}have (?:[\w-]+ ){{0,4}}?{_KNOWLEDGE}\b",
    rf"\b(?:i have|i've(?: got)?) no (?:\w+ )?{_KNOWLEDGE}\b",
    rf"\bas an ai\b[^.!?]*(?:\bi {_ADVERBS}{_NOT} have\b|{_CANNOT})",
    r"\bthere (?:is|isn't|is not|are|was) (?:no|not enough|not any|enough|insufficient|any) "
    r"(?:\w+ ){0,2}(?:information|data|(?:record|evidence|mention) (?:of|that|for|about|on|available))\b",
    r"\b(?:difficult|hard|impossible) (?:for me )?to (?:\w+ly )?(?:say|tell|answer|know|give)\b",
    r"\bit(?: is|'s) (?:not possible|impossible) to (?:\w+ly )?(?:answer|determine|say|identify|provide)\b",
    r"\bthe (?:question|prompt|text|passage|article|context) (?:does not|doesn't) (?:\w+ )?"
    r"(?:provide|specify|mention|say|contain)\b",
    r"\b(?:is|are) (?:not known|unknown) to me\b|\bescapes me\b|\bguess is as good as mine\b",
    r"\bthe answer (?:to (?:this|that|your|the) question )?is (?:unknown|not known|unclear)\b",
    r"\b(?:i must|i have to|i'd rather|i would rather|i prefer to|i'll have to|i will have to) "
    r"(?:\w+ ){0,2}?(?:decline|pass|skip|abstain|leave|refrain|not (?:say|guess|answer|speculate))\b",
    rf"{_I_AM}not (?:\w+ )?(?:confident|comfortable|qualified)\b",
    r"\b(?:outside|beyond) (?:of )?(?:my|what i)\b",
    rf"{_CANNOT} (?:\w+ )?(?:name|recommend|speculate|comment|discuss)\b",
    r"\bnot something (?:that )?i (?:can|know|have)\b",
    r"\b(?:nobody|no one|nothing) in my (?:data|records|knowledge|memory)\b",
)
# Requests, which also follow an answer: they count in the first sentence alone, or behind an apology.
_REQUESTS = (
    r"\b(?:could|can|would) you (?:please )?(?:provide|clarify|specify|rephrase|give me)\b",
    r"\bplease (?:provide|clarify|specify|rephrase|give me)\b",
    r"\bi(?:'d| would| will|'ll)? need (?:more|further|additional|to know)\b",
    r"\b(?:do|did|are) you (?:mean|referring|asking|talking)\b[^.!]*\?",
)
_REQUEST = re.compile(
    r"^(?:(?:i'm |i am )?(?:so )?sorry[^.!?]*[.!] |it (?:depends|looks|seems)[^.!?]*[.!] )?[^.!?]*(?:"
    + "|".join(_REQUESTS)
    + ")"
)
_ABSTENTION = re.compile("|".join(_ABSTENTIONS))
_WHOLE = re.compile(
    r"(?:sorry,? )?(?:the answer is )?(?:unknown|n/a|not sure|no idea|no answer|don't know|dunno|idk"
    r"|(?:no information )?(?:is )?(?:not )?available|unanswerable|(?:i am |i'm )?sorry|i apologi[sz]e)"
    r"(?:,? sorry)?"
)
# A guess before the doubt, and one behind it: what follows "but", unless that is an offer or a request.
_CANDIDATE = re.compile(r"\b(?:probably|perhaps|maybe|possibly|likely|might be|may be)\b")
_GUESS = re.compile(
    r"\bthe (?:correct |right )?answer is (?!unknown|not |unclear|beyond|outside)"
    r"|\bbut (?!i\b|please|if |you |feel |perhaps you|maybe you|there |any |we |that |it is not"
    r"|unfortunately)"
    r"|\bif so\b"
    r"|\bbut i(?: would|'d)? (?:think|believe|guess|suspect|say|can tell)\b"
    r"|\bbut it(?:'s| is| was| may| might| could)\b"
    r"|\b(?:but the|but my|my) (?:best )?guess\b"
    r"|\bi(?: would|'d) (?:guess|say)\b"
)
_QUOTED = re.compile(r'"[^"]*"')
_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def abstains(text: str) -> bool:
    """Whether the text declines to answer, by the rule of this module (English only)."""
    plain = " ".join(text.translate(_STRAIGHT).lower().split()).strip('"')
    unquoted = _QUOTED.sub(" ", plain)
    if _WHOLE.fullmatch(unquoted.strip(" .!")):
        return True
    match = _ABSTENTION.search(unquoted) or _REQUEST.search(unquoted)
    if match is None or _CANDIDATE.search(unquoted, 0, match.start()):
        return False
    return not _GUESS.search(unquoted, match.end())
