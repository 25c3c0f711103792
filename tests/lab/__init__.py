"""The lab: plays an example's manifests and transcripts on a small mesh on loopback.

From an example's files to its outputs:

- `example` finds the files, `manifests` reads them, `transcript` reads the consoles;
- `cluster` holds the objects and adds what a cluster's controllers would, `injector` adds the
  sidecars, `installation` is the mesh that is there before an example starts;
- `istiod` turns the objects into xDS, recorded or live; `recordings` keeps what was recorded;
- `credentials` adds what lies in Secrets, `xds` fits it all to loopback, `discovery` serves it to
  the proxies that `envoy` runs, `kubelet` runs the containers;
- `names` knows what names and addresses mean, `dns` answers for it, `network` leads connections
  through sidecars;
- `isolation` gives the lab a network, `tracking` keeps a firewall out of it, `addresses` knows what
  the cluster's addresses are in it;
- `mesh` holds them together, `server` lets the `kubectl`, `istioctl` and `curl` of a shell reach
  it, `play` runs the transcripts in that shell and compares;
- `matrix` plays on other versions of Envoy, `mutations` knows how their values may change;
- `commands` is the command line, `__main__` starts and ends it.
"""
