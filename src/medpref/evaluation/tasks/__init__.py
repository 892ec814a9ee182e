"""The tasks: one small versioned file each."""

from medpref.evaluation.tasks import choice as choice
from medpref.evaluation.tasks import phantom_caption as phantom_caption
from medpref.evaluation.tasks import phantom_vqa as phantom_vqa
from medpref.evaluation.tasks import reports as reports
from medpref.evaluation.tasks import vqa as vqa
from medpref.evaluation.tasks.base import Scored, Task, headlines, named_slices, tasks

__all__ = ["Scored", "Task", "headlines", "named_slices", "tasks"]
