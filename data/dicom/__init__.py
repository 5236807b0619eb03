"""DICOM in: frames, Hounsfield units, the few header facts that may leave a file, reports, series."""
