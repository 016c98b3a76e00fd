"""The engine: usage of many accounts at once to exact amounts."""
