"""Which site a gateway runs: its own file, what the cloud sends, and the way back from what does not work."""
