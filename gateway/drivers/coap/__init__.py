"""CoAP meters that speak SenML: a server that battery meters push to, a client that observes mains-powered ones."""
