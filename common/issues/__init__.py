"""What can be wrong with data: codes, levels, advice, and whether a run takes them."""
