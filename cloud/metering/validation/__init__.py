"""Rules that judge readings and usage of many meters at once (V1 to V18), and the thresholds they go by. Pure."""
