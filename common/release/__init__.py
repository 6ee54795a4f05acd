"""A model that leaves a run: saved, exported, described, asked."""
