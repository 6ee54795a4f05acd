"""Tables, label layouts, folders and splits: which file shows whom and what, before a pixel is read."""
