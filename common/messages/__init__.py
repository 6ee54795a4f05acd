"""What the lead asks of a hospital and what the hospital answers: typed, bounded, and refused in words otherwise."""
