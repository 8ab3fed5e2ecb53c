"""The demo pair: a simulator of mouse bone marrow, and the finished run that ships with the app."""
