"""What ``cli.py`` lists: one function a command, their options in the same words, the way out.

A command parses, calls and prints; each is imported when it is asked for.
"""
