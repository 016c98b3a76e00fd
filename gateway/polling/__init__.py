"""Polling: when each device is due, the worker of a line, and the recorder that makes batches of points."""
