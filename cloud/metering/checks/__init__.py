"""The rules of validation on real data: after ingest, on changed days, each morning, at bill time."""
