"""What a model, or one update, tells of the patients behind it: attacks that are made here, and their figures."""
