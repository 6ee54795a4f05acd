"""What joining the consortium is worth to each hospital, in a simulation."""
