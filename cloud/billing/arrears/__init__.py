"""What comes of being late: late fees, disputes, waivers and instalment plans."""
