"""The addresses of a cluster, all of them in networks of its own."""

NODE = "172.18.0.2"
NODE_NAME = "node-1"
CLIENT = "172.18.0.1"
"""The one client outside of the cluster, in a network namespace of its own."""

CLIENT_NETWORK = "client"
"""The name of that namespace."""

BALANCED = "172.18.255.0/24"
"""The network of the addresses that Services of type LoadBalancer get."""

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
API_PORT = 6443
API = f"https://{NODE}:{API_PORT}"
REGISTRY_PORT = 5000
