"""The dual-modal network, its branches and its weights."""
