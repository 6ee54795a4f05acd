"""What every package stands on: files written whole, seeds, logs, words; nothing of medicine."""
