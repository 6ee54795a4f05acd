"""The frame of every page: style, drawings, which kinds of images it is about."""
