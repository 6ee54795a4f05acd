"""One HTML file that tells what a run did and how far its figures can be trusted.

Template and style are Python strings and not files of their own: a Flower bundle drops files of every other kind.
"""

from fedthorax.common.report.document import write_report

__all__ = ["write_report"]
