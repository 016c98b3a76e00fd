"""Black and white lists: who may never enter, and who always may."""
