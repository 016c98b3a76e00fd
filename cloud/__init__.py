"""The service: takes readings and passages in, makes bills and fees of them, shows them to people."""
