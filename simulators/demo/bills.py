"""Bills of closed months, and the payments that most residents made for them."""
