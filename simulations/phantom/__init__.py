"""Synthetic chest X-rays and CT slices with planted findings, for the demo and the tests."""
