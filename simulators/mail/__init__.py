"""A mail server that takes e-mail by SMTP and keeps it, with TLS, sign-in and the ways in which real ones fail."""
