"""Secure aggregation: the server computes the sum of the hospitals' weighted differences, and nothing of one of them.

The shape is Flamingo's (Ma et al., IEEE S&P 2023) with every hospital a decryptor and no set-up inside a round: one
message with the masked update and shares of its masks' keys, one with the shares that the sum needs.
"""
