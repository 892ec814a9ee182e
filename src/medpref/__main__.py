"""``python -m medpref`` is the command line."""

from medpref.cli import main

if __name__ == "__main__":
    main()
