"""Health: what every device and line did, as Prometheus metrics and as the report to the cloud."""
