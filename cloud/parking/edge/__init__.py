"""What gateways are told so that lanes decide without the cloud."""
