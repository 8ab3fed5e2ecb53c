"""Who and what is let in: hosts, connections, visitors who sign in, and text from files."""
