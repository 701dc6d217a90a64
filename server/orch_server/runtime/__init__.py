"""Processes that outlive us: the runner of an agent, its record on disk, and how the hub reaches both.

Rules of this room: the hub never owns an agent's pipes; the directory on disk (the bundle) is the truth and memory is
a cache of it; nothing is started twice and nothing is killed that is not known by start time, ancestry or cookie.
"""
