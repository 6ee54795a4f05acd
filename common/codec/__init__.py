"""How weights are packed for the way: without loss, or as differences of 8 or 4 bits with a stated error bound."""
