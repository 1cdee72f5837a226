"""Us and others on the same slide in one run; see ``compare.py``."""
