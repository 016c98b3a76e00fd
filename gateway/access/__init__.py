"""Access: may this vehicle pass? Decided at the edge, with or without the cloud."""
