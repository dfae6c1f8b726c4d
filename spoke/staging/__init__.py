"""Data brought into the cluster before a job starts there."""
