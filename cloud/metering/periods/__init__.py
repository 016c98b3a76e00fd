"""What meters counted over periods, as bills and apportionment need it."""
