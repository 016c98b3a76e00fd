"""The shared bus."""
