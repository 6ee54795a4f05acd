"""The form in which weights travel: packs, rounding, one text of where each begins."""
