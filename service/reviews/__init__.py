"""What a reader decided about a slide: kept version by version, never overwritten."""
