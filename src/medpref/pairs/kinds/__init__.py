"""What a question asks for: modality, plane, organ, abnormality, presence, position, size and so on."""

from medpref.pairs.kinds.classifier import Classifier, Kind, classifier, classify
from medpref.pairs.kinds.lists import KINDS, Lists, read_lists

__all__ = ["KINDS", "Classifier", "Kind", "Lists", "classifier", "classify", "read_lists"]
