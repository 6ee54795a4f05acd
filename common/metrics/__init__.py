"""Scores of both heads, through scikit-learn; what is undefined is null with its reason."""
