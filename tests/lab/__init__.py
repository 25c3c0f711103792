"""The lab: plays an example's manifests and transcripts on a small mesh on loopback.

From an example's files to its outputs:

- `example` finds the files, `manifests` reads them, `transcript` reads the consoles;
- `cluster` holds the objects and adds what a cluster's controllers would, `installation` is the
  mesh that is there before an example starts;
- `istiod` turns the objects into xDS, recorded or live; `recordings` keeps what was recorded;
- `credentials` adds what lies in Secrets, `xds` fits it all to loopback, `envoy` runs the proxies,
  `kubelet` runs the containers;
- `mesh` holds them together, `server` lets the `kubectl`, `istioctl` and `curl` of a shell reach
  it, `play` runs the transcripts in that shell and compares;
- `commands` is the command line, `__main__` starts and ends it.
"""
