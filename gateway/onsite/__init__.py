"""Tools of the person on site: what a device says, who answers on a line, how full it is, how the gateway does."""
