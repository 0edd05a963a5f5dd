"""Articles, plurals and number of the names of things."""

from __future__ import annotations

import functools
import re

IRREGULAR = {
    **{"goose": "geese", "foot": "feet"},
    **{"mouse": "mice", "tooth": "teeth", "ox": "oxen", "die": "dice", "chessman": "chessmen", "snowman": "snowmen"},
    **{"man": "men", "snowperson": "snowpeople", "bacterium": "bacteria", "fungus": "fungi"},
    **{"larva": "larvae", "monarch": "monarchs"},
}
UNCHANGED = {
    *("fish", "deer", "sheep", "shrimp", "oden", "bison", "moai", "moyai", "koinobori", "aircraft", "swine", "dice"),
    *("sushi", "nigiri", "onigiri", "senbei", "dango", "spacecraft", "crossbones", "pierogi", "gyoza", "jiaozi"),
    *("angelfish", "blowfish", "pufferfish", "balloonfish", "cuttlefish", "crayfish", "bacteria", "oni", "calamari"),
}
WITH_VES = {"knife", "leaf", "wolf", "loaf", "scarf", "half", "sheaf"}
WITH_OES = {"tomato", "potato", "mango", "volcano", "tornado", "mosquito", "buffalo"}
SINGULAR_IN_S = {"rhinoceros", "atlas", "ananas"}  # beside -ss, -us, -is
PLURAL_WITHOUT_SIGN = {"skis", "bacteria"}
# No "a" before these: they cannot be counted.
MASS = {
    *("bacon", "broccoli", "garlic", "popcorn", "popped corn", "salt", "spaghetti", "pasta", "butter", "fire", "ice"),
    *("bread", "baguette bread", "french bread", "pita bread", "naan bread", "white bread", "wood", "timber", "yarn"),
    *("wool", "thread", "sewing thread", "soap", "coral", "poo", "poop", "dung", "blood", "rice", "cooked rice", "dna"),
    *("white rice", "steamed rice", "curry rice", "curry", "canned food", "tinned food", "beef", "raw meat", "meat"),
    *("milk", "honey", "cutlery", "silverware", "champagne", "sake", "rice wine", "corn", "maize", "sweetcorn"),
    *("cheese", "swiss cheese", "confetti", "party confetti", "luggage", "money", "cash", "flying money", "wheat"),
    *("winged money", "nail polish", "nail varnish", "nail lacquer", "badminton", "tennis", "ping pong", "ping-pong"),
    *("table tennis", "pingpong", "rugby", "soccer", "shaved ice", "granita", "toilet paper", "wine", "red wine"),
    *("whiskey", "whisky", "scotch", "soup", "green tea", "bamboo", "mail", "artwork", "tempura", "shrimp tempura"),
    *("soft ice cream", "soft serve", "soft-serve", "soft serve ice cream", "calamari", "takeout", "takeaway", "wind"),
    *("chinese takeout", "lotion", "dynamite", "paragliding", "light rail", "cooking"),
    *("blowing wind", "film", "movie film", "juice", "honeydew", "blu-ray", "beer", "tea", "coffee", "custard"),
    *("money with wings", "money flying away", "cash with wings", "salmon sushi", "sushi"),
    *("corn on the cob", "meat on bone", "meat on the bone", "meat with a bone", "meat on a bone", "curry and rice"),
    *("curry with rice", "spaghetti and meatballs", "lettuce", "hotpot", "vhs"),
}
PROPER = {
    *("saturn", "earth", "planet earth", "planet saturn", "fuji", "mt fuji", "fujisan", "mount fuji"),
    *("mount fujiyama", "lady liberty"),
}
NO_NOUNS = {"locked", "unlocked", "star-struck"}
NEVER_COUNTED = {  # some because one drawing shows several
    *NO_NOUNS,
    *("hourglass done", "hourglass not done", "shower", "world", "cherry", "grape", "blueberry", "bubble", "bean"),
    *("kidney bean", "glove", "shopping bag", "ballet shoe", "chopstick", "sword", "heart", "sock", "ski", "lung"),
    *("pancake", "paw print", "chain", "champagne glass", "olive branch"),
}
HEAD_ENDS = re.compile(
    r" (?:of|with|without|in|on|at|for|from|lying|showing|not|done|blowing|spouting|hatching|flying|sticking|being)\b"
)
SILENT_H, LIKE_YOU, SPELT = (
    ("hour", "honest", "heir"),
    ("uni", "ufo", "use", "ute", "eu", "ewe", "one", "u-"),
    ("suv", "nfl", "md"),
)


def vowel(words: str) -> bool:
    """Whether the words begin with the sound of a vowel, and need "an"."""
    if words.startswith((*SILENT_H, "8")) or words.split()[0] in SPELT:
        return True
    return words[0] in "aeiou" and not words.startswith(LIKE_YOU)


def article(words: str) -> str:
    """ "a " or "an "."""
    return "an " if vowel(words) else "a "


def article_of(name: str) -> str:
    """The article of a name: "a ", "an ", or "" for a plural and for what cannot be counted."""
    return article(name) if number(name) == "one" else ""


@functools.cache
def number(name: str) -> str:
    """ "one", "many" (already a plural), "mass" (no "a" before it) or "proper" (no article at all)."""
    if name in PROPER:
        return "proper"
    if name in MASS:
        return "mass"
    head = HEAD_ENDS.split(name)[0]
    if " and " in head:
        return "one"
    return "many" if _is_plural(head.rsplit(" ", 1)[-1]) else "one"


@functools.cache
def plural(name: str) -> str:
    """The plural of a name: of its head, the part before "of", "with", ..."""
    end = HEAD_ENDS.search(name)
    head, rest = (name[: end.start()], name[end.start() :]) if end else (name, "")
    if " and " in head:
        return " and ".join(plural(each) for each in head.split(" and ")) + rest
    before, space, last = head.rpartition(" ")
    return f"{before}{space}{_plural(last)}{rest}"


def _is_plural(word: str) -> bool:
    if word in PLURAL_WITHOUT_SIGN:
        return True
    return word.endswith("s") and not word.endswith(("ss", "us", "is", "'s")) and word not in SINGULAR_IN_S


def _plural(word: str) -> str:
    if word in UNCHANGED or _is_plural(word):
        return word
    front, dash, last = word.rpartition("-")
    if last in IRREGULAR:
        return front + dash + IRREGULAR[last]
    if last in WITH_VES:
        return front + dash + last.removesuffix("fe").removesuffix("f") + "ves"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    if last.endswith(("s", "x", "z", "ch", "sh")) or last in WITH_OES:
        return f"{word}es"
    return f"{word}s"
