"""How a thing's name stands in a caption: with its article, or in the plural."""

from __future__ import annotations

import re

LINKS = ("with", "without", "of", "on", "showing", "done", "not")  # what follows says more of the word before it
# Words that are plurals already, that are not counted, or that are no nouns.
UNCHANGED = """
    bacon badminton bags beans bison blowfish blueberries books broccoli bubbles butter chains cherries chopsticks
    cooking crossbones dango deer dna dolls eyes fish food frames fries fuji garlic glasses gloves goggles grapes
    hearts ice jeans locked luggage lungs meat moai money mugs notes oden pancakes peanuts pong popcorn prints rice
    sake salt scissors sheep shoes shorts shrimp skis socks spaghetti star-struck sunglasses sushi swords tennis
    unlocked wood yarn
"""
SAME = frozenset(UNCHANGED.split())
ODD = {
    "die": "dice", "foot": "feet", "goose": "geese", "snowman": "snowmen", "leaf": "leaves", "knife": "knives",
    "mouse": "mice", "ox": "oxen", "scarf": "scarves", "sheaf": "sheaves", "tooth": "teeth", "wolf": "wolves",
    "mango": "mangoes", "mosquito": "mosquitoes", "potato": "potatoes", "tomato": "tomatoes", "tornado": "tornadoes",
    "volcano": "volcanoes", "buffalo": "buffaloes",
}  # fmt: skip


def article(name: str) -> str:
    """ "a ", "an ", or nothing before what is plural."""
    last = name.split()[-1]
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return ""
    return "an " if name[0] in "aeiou" else "a "


def plural(name: str) -> str:
    """A name for several of a thing: "foxes", "ears of corn", "forks and knives"; "jeans" stays as it is."""
    words = name.split()
    head = next((k for k, word in enumerate(words) if word in LINKS and k), len(words))
    several = " ".join((*words[: head - 1], _several(words[head - 1]), *words[head:]))
    first, both, second = several.partition(" and ")
    return f"{plural(first)} and {second}" if both else several


def _several(word: str) -> str:
    if word in SAME:
        return word
    if word in ODD:
        return ODD[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return re.sub("([^aeiou])y$", r"\1ie", word) + "s"
