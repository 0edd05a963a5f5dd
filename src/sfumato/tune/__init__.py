"""A few photos of one thing, and a text-to-image model that learns it."""

import sys

from sfumato.verb import Verb

VERB = "finish.tune"
sys.modules[__name__].__class__ = Verb
