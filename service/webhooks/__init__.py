"""Webhooks: calls to other systems when a batch or a job has ended."""
