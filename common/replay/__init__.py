"""Whether a run that was made again is the same run."""
