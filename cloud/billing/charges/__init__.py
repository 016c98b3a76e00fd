"""From what is known to charges: facts read in bulk, cut into pieces, rated, kept with all they follow from."""
