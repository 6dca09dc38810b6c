"""`python -m eventstore.runtime` is `eventstore-runtime`."""

from .cli import main

if __name__ == "__main__":
    main()
