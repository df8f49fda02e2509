"""What comes in from outside and goes out again: texts that others wrote, JSON, files that outlive a crash.

The standard library alone; every other room may use it.
"""
