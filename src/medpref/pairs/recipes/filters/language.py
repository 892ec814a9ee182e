"""The filter for pairs in another language than expected."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext
from medpref.pairs.recipes.filters.base import FilterSettings, filter_recipes, leave_out_faulty

Language = Literal["en", "de", "fr", "es", "it", "pt", "nl", "zh", "ja", "ko", "ru", "ar"]

# The commonest words that no other language of the list shares, as far as there are any.
_STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and is are this there what which where with has have not from was were be an or by",
        "de": "der das und ist sind ein eine nicht mit auf von zu im dem den des wird welche gibt kein keine",
        "fr": "le les et est sont une pas dans sur avec du aux ce cette quel quelle où il elle qui par",
        "es": "el los las y es está una hay del qué cuál dónde muestra esta este por sí son lado",
        "it": "il gli è sono una nel nella della delle di che non quale dove con questa questo dei sul",
        "pt": "os um uma não há em da das dos na é são qual onde com esta este pelo mostra ao",
        "nl": "het een en zijn niet van op met deze dit welke waar wordt er geen bij aan naar door",
    }.items()
}
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "zh": re.compile(r"[\u4e00-\u9fff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
}
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")


class LanguageSettings(FilterSettings):
    """Which language the texts are in.

    Attributes:
        language: as its two-letter code (ISO 639-1).
        evidence: how many more stop words another language has to have than the expected one: terms alone,
            such as "ground glass", tell no language.
    """

    language: Language = "en"
    evidence: int = Field(2, ge=1)


def language(pairs: Sequence[Pair], settings: LanguageSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs of which a prompt, response or earlier turn is in another language.

    Short texts without stop words are kept: nothing tells their language.
    """

    def fault(pair: Pair) -> str | None:
        said = [text for turn in pair.history for text in turn]
        for text in (*said, pair.prompt.replace(IMAGE_PLACEHOLDER, " "), *pair.responses.values()):
            found = guess(text, settings.language, settings.evidence)
            if found != settings.language:
                return f"a text looks like {found}, not {settings.language}"
        return None

    return leave_out_faulty(pairs, "language", fault, context)


def guess(text: str, expected: str, evidence: int) -> str:
    """Return the language that a text looks like, by its script or its stop words; `expected` in doubt."""
    letters = len(_LETTER.findall(text))
    for name, script in _SCRIPTS.items():
        # Japanese is written with Chinese characters too, and a foreign term may stand in any text.
        if letters and len(script.findall(text)) > (0.1 if name == "ja" else 0.5) * letters:
            return name
    words = [word.casefold() for word in _WORD.findall(text)]
    counts = {name: sum(word in known for word in words) for name, known in _STOP_WORDS.items()}
    likeliest = max(counts, key=lambda name: (counts[name], name == expected))
    return likeliest if counts[likeliest] >= counts.get(expected, 0) + evidence else expected


filter_recipes.add("language", Recipe("the texts are in the expected language", LanguageSettings, language))
