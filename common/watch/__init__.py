"""A run as a local web page that follows it; it only reads the run folder."""
