"""The tests, a tree like the source's."""
