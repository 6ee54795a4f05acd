"""From folders on disk to batches of paired images, one direction only."""
