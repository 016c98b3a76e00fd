"""Why a bill comes to its amount, for people who add it up by hand."""
