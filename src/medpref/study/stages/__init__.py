"""What each stage does: thin glue from folders to the pipeline's parts and back to folders."""

from medpref.study.stages import data as data
from medpref.study.stages import evaluation as evaluation
from medpref.study.stages import pairs as pairs
from medpref.study.stages import start as start
from medpref.study.stages import step as step
from medpref.study.stages import training as training
