"""Visitors and residents: paying by plate without signing in, visitor passes, vehicles that residents ask for."""
