"""Synthetic chest X-rays and CT slices with planted findings, for the demo and the tests."""

from fedthorax.simulations.phantom.folder import PhantomSummary, write_phantom
from fedthorax.simulations.phantom.manifest import phantom_arguments, phantom_is_current
from fedthorax.simulations.phantom.variety import Variety

__all__ = ["PhantomSummary", "Variety", "phantom_arguments", "phantom_is_current", "write_phantom"]
