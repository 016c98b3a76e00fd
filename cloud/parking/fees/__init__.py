"""Fee rules: what a rule may say, and what a stay costs by it."""
