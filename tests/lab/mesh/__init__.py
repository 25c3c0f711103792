"""What runs for an example in one state: proxies, containers, names, and the ways between."""
