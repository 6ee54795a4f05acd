"""A run: its folder, its metrics, its history."""
