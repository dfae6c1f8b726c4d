"""Objects that configure whole clusters, given to those that a selector names: who is to have them, how it stands."""
