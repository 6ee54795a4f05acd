"""The dual-modal network, its branches and its weights."""

SEGMENTS = ("xray.backbone", "xray.projection", "ct.backbone", "ct.projection", "fusion", "disease", "cancer")
"""Of the weights, see segments.py; here for commands that must not wait for TensorFlow."""
