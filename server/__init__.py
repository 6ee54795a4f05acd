"""What runs at the consortium: rounds, aggregation, central evaluation, checkpoints."""
