"""Counts and histograms that may leave a hospital, and what can be said from several hospitals' together."""
