"""What runs inside a hospital: the site worker, local training, and what may leave the building."""
