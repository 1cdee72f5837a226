"""Telling other systems that a batch or a job has ended."""
