// Command istioctl is Istio's istioctl with the lab in place of a cluster.
//
// The commands that read a cluster (analyze, proxy-config) are attached
// again with a context of our own: its Kubernetes client is in memory and holds the lab's objects,
// and its requests to a proxy go to the admin address of the lab's Envoy. All else, every line of
// output included, is Istio's code.
//
// LAB_CLUSTER names a JSON file: {"objects": [...], "admin": {"pod.namespace": "host:port"}}.
// Without it this is istioctl as it is anywhere.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"istio.io/istio/istioctl/cmd"
	"istio.io/istio/istioctl/pkg/analyze"
	"istio.io/istio/istioctl/pkg/proxyconfig"
)

func main() {
	root := cmd.GetRootCmd(os.Args[1:])
	if path := os.Getenv("LAB_CLUSTER"); path != "" {
		if err := attach(root, path); err != nil {
			fmt.Fprintf(os.Stderr, "istioctl: %v\n", err)
			os.Exit(1)
		}
	}
	if err := root.Execute(); err != nil {
		os.Exit(cmd.GetExitCode(err))
	}
}

// attach puts the lab of this file in place of a cluster.
func attach(root *cobra.Command, path string) error {
	ctx, err := newLab(path, root.PersistentFlags())
	if err != nil {
		return err
	}
	replace(root, analyze.Analyze(analyzed{ctx}))
	replace(root, proxyconfig.ProxyConfig(ctx))
	return nil
}

func replace(parent, with *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Name() == with.Name() {
			parent.RemoveCommand(c)
		}
	}
	parent.AddCommand(with)
}
