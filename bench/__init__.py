"""The benchmark, a program of its own on top of everything: `make bench`, or `eventstore-runtime bench`."""
