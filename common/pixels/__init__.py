"""How a file becomes uint8 (H, W, 3): PNG, JPEG, DICOM, NIfTI, and the caches of what was decoded."""
