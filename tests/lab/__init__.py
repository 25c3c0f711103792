"""The lab: replays what was recorded of an example on a cluster, on this machine.

Rooms, each of which knows those before it:

- `files` finds and reads what an example is made of: manifests, transcripts, the recording;
- `objects` knows what the recorded objects mean: pods, names and addresses;
- `machine` starts and ends processes, in a network of the lab's own;
- `proxy` runs Envoy on what istiod had sent, with certificates of the lab's own;
- `mesh` holds proxies and containers together, state by state;
- `programs` are what a transcript calls: what asks the control plane is answered from the
  recording, what asks a proxy or a workload is run;
- `plays` runs the transcripts in a shell and compares, also on other Envoys; its `commands` are the
  command line, and `__main__` starts and ends it.
"""
