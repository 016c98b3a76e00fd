"""What happened, told to other systems over HTTP: subscriptions of a project and their deliveries."""
