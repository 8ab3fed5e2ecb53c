"""Files that arrive in the browser: the inbox of a session, and the middleware that writes them to disk."""
