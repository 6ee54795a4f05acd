"""Why a decoder gives up on a file."""

from fedthorax.common.records.records import Fault


class UndecodableError(ValueError):
    """The reason, in words that follow the name of the file, and the fault, to count by."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault
