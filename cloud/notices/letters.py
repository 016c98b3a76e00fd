"""What a notice looks like as an e-mail. Pure."""
