"""Terms of payment of a project, in versions."""
