"""The job: from options to a plan, through the stages, to a run directory."""
