"""A real cluster on this machine: Kubernetes, containerd and Istio as their projects build them.

From the registries to a running cluster:

- `parts` says what is built from what, in which versions; `kept` keeps what was built by the digest
  of its inputs; `images` makes the container images, `store` hands them to containerd;
- `needs` says what this machine lacks, before anything is done;
- `keys` makes the certificates, `tls` shows them; `conf/` has what the components read, at the
  paths of the world;
- `world` is the cluster as seen from this machine: it starts, enters and ends its namespaces;
  `state` remembers it, `groups` are its cgroups, `keeper` waits for its end and tidies up;
- `first` is the first process in there: it mounts (`mounts`), wires (`wires`), starts the
  `components`, installs Istio (`install`), and ends all when one of them dies;
- `registry` and `balancer` are the two components of our own;
- `commands` is the command line, `__main__` starts and ends it.
"""
