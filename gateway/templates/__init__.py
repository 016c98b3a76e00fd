"""Device templates: what a vendor's device measures and how to ask it, loaded from `firmware-config/`."""
