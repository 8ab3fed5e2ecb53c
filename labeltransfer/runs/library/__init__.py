"""Published references, onto which queries are mapped."""
