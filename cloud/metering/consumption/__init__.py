"""Usage as people look at it: by place and step, compared with other days."""
