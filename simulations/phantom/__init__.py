"""Synthetic chest X-rays and CT slices with planted findings, for the demo and the tests."""

from fedthorax.simulations.phantom.folder import PhantomSummary, phantom_is_current, write_phantom

__all__ = ["PhantomSummary", "phantom_is_current", "write_phantom"]
