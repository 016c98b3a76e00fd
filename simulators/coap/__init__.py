"""Simulated CoAP meters: battery meters that push SenML, mains-powered ones that are observed."""
