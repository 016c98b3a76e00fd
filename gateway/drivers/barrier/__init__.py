"""Barriers and plate cameras over MQTT: dialects, lanes, and the line that connects them."""
