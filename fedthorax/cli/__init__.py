"""The command line: the only part that knows every room, and that nobody imports."""
