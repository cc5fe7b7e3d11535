"""``python -m rfnumeric`` is the command line."""

from rfnumeric.cli import main

if __name__ == "__main__":
    main()
