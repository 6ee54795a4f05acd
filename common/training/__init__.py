"""Training and scoring, the same for a hospital, a centralised run and the server."""
