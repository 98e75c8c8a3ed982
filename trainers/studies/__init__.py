"""Phenomena of over-parameterised models, one a file: where power laws come from and break.

A study is a module here with a ``STUDY`` (``trainers.study.Study``); the first line of its
docstring is what ``scalefit studies`` says. What several need is in ``tools``, and what one has no
room for in ``parts``.
"""
