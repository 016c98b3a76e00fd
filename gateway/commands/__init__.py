"""Groups of `gatemeter gateway …` commands, each in a file of its own. Imports of weight happen inside the commands."""
