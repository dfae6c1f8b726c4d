"""Workloads whose number of pods may be chosen: started with fewer, grown into idle room, shrunk before others go."""
