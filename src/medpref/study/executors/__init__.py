"""Executors: where the stages of a run are worked on, one file each."""

from medpref.study.executors import local as local
from medpref.study.executors import ray_cluster as ray_cluster
from medpref.study.executors import slurm as slurm
from medpref.study.executors.base import Executor, ExecutorKind, ExecutorSettings, Job, executors

__all__ = ["Executor", "ExecutorKind", "ExecutorSettings", "Job", "executors"]
