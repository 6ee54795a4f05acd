"""In what pieces weights travel."""

# Each piece of an array is a request of its own at the SuperLink, with three commits to its database. Flower's own
# 5 MiB make eleven of the model, and cost 1.5 s of CPU more in a round of two hospitals. A broken line loses one piece.
CHUNK_BYTES = str(16 << 20)
