"""A hospital of a real consortium: its settings, its worker process, and what keeps both running."""
