"""Lines on real sockets and serial ports."""
