"""DICOM whole-slide images: which instances are one slide, and reading them."""
