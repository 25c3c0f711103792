package main

import (
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	authorization "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"istio.io/istio/pilot/pkg/model"
	v3 "istio.io/istio/pilot/pkg/xds/v3"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/util/sets"
)

// letGatewaysReadSecrets answers istiod's question who may read the Secrets of a namespace as the
// roles of an installation do: the service accounts of gateways, in their own.
func letGatewaysReadSecrets(client kube.Client, proxies []proxy) {
	allowed := sets.New[string]()
	for _, p := range proxies {
		if p.Type == model.Router {
			allowed.Insert(p.Namespace + " system:serviceaccount:" + p.Namespace + ":" + p.Account)
		}
	}
	client.Kube().(*fake.Clientset).PrependReactor("create", "subjectaccessreviews",
		func(action clienttesting.Action) (bool, runtime.Object, error) {
			review := action.(clienttesting.CreateAction).GetObject().(*authorization.SubjectAccessReview)
			asked := review.Spec.ResourceAttributes.Namespace + " " + review.Spec.User
			review.Status.Allowed = allowed.Contains(asked)
			return true, review, nil
		})
}

// namedSecrets gives the names of the Secrets and ConfigMaps that a configuration refers to. What
// has another form of name is pilot-agent's to give.
func namedSecrets(t test.Failer, listeners []*listener.Listener, clusters []*cluster.Cluster) []string {
	names := sets.New[string]()
	for _, l := range listeners {
		names.InsertAll(xdstest.ExtractListenerSecretResources(t, l)...)
	}
	for _, c := range clusters {
		names.InsertAll(xdstest.ExtractClusterSecretResources(t, c)...)
	}
	return slices.DeleteFunc(sets.SortedList(names), func(name string) bool {
		return !strings.Contains(name, "://")
	})
}

// secretNames gives the names of the Secrets that istiod would send to a proxy of those that its
// configuration names. istiod logs why it leaves one out. What is in them the lab knows itself.
func secretNames(t test.Failer, server *xds.FakeDiscoveryServer, node *model.Proxy, wanted []string) []string {
	found, _, err := server.Discovery.Generators[v3.SecretType].Generate(
		node,
		&model.WatchedResource{TypeUrl: v3.SecretType, ResourceNames: sets.New(wanted...)},
		&model.PushRequest{Forced: true, Push: server.PushContext()},
	)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, resource := range found {
		names = append(names, resource.Name)
	}
	slices.Sort(names)
	return names
}
