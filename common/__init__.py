"""What every side shares: configuration, data, model, training, metrics, messages, report."""
