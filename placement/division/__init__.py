"""Replicas of one workload divided over clusters: how many where, kept so as capacity comes and goes."""
