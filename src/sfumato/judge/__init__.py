"""How good a result is: features, distances between sets of pictures, memorisation."""

import sys

from sfumato.verb import Verb

VERB = "model.judge"
sys.modules[__name__].__class__ = Verb
