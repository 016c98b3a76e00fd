"""CJ/T 188: China's water and heat meters."""
