"""What several methods need: the interface, the registry, choices that recur."""
