"""One file for each metric, run by `medpref.evaluation.radiology.worker` without medpref."""
