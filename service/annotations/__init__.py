"""Regions, points and measurements that readers draw on slides: every version is kept."""
