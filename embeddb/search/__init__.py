"""Expression -> vector -> candidates -> hits."""
