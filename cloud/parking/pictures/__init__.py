"""Pictures of vehicles: asked of gateways by signed links, kept for some days, shown to staff."""
