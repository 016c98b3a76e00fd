"""Cameras and barriers that speak the generic JSON dialect over real MQTT."""
