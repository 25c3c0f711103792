"""One Envoy for each sidecar and gateway, and what it is told in istiod's place."""
