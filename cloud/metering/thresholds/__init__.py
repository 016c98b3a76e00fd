"""The bounds that rules go by: of a class, of a project, of one meter."""
