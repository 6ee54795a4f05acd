"""One hospital, or the server, as it is read: folders, exact copies, images by split."""
