"""What a hospital tells of its data: counts, histograms, keyed hashes."""
