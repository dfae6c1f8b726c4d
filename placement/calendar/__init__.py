"""CronJobs: when they are due, what is to be started then, and the Job that each run is."""
