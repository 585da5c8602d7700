"""Hosts of training runs: each module translates its host's events to a Session's, and nothing more."""
