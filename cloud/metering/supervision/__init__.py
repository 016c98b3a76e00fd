"""What is watched over many meters: losses, night flows, health."""
