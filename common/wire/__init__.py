"""The form in which weights travel: frames, rounding, one text of where each begins."""
