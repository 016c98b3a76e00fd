"""Bills sent by e-mail."""
