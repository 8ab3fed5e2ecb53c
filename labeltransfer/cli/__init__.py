"""The command line: :mod:`.main` reads it; :mod:`.options` and :mod:`.asked` make params of it, for Python as well."""
