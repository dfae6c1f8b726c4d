"""What admins change of workloads on the clusters that they choose: registry, classes, claims, variables, patches."""
