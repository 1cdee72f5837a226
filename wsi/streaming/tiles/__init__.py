"""Cutting an image into tiles and running them exactly."""
