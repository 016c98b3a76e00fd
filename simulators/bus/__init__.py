"""A two-wire bus with devices of any protocol on it: frames take their time, and two at once collide."""
