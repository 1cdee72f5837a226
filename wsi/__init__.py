"""wholeslide: whole-slide pathology cancer detection."""
