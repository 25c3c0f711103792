// Command controlplane turns Kubernetes and Istio objects into the xDS that istiod would send.
//
// It reads one JSON request from standard input and writes one JSON response to standard output;
// istiod's own log goes to standard error. Inside is Istio's discovery server behind an in-memory
// Kubernetes client (package pilot/test/xds), and before it Istio's validating webhook, which is
// the one that speaks when `kubectl apply` meets an invalid object.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/gateway-api/pkg/consts"

	// Registers every message that an Any field in the configuration may hold.
	_ "istio.io/istio/pkg/config/xds"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvr"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/monitoring"
	"istio.io/istio/pkg/spiffe"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/util/protomarshal"
)

// request is what the lab asks: the cluster's objects, and the proxies to configure.
type request struct {
	MeshConfig string            `json:"meshConfig"`
	Objects    []json.RawMessage `json:"objects"`
	Proxies    []proxy           `json:"proxies"`
}

// proxy is one Envoy: a sidecar or a router (gateway), known by its pod.
type proxy struct {
	ID        string            `json:"id"` // pod.namespace
	Type      model.NodeType    `json:"type"`
	Namespace string            `json:"namespace"`
	Account   string            `json:"account"`
	IP        string            `json:"ip"`
	Labels    map[string]string `json:"labels"`
	Version   string            `json:"version"`
	Metadata  map[string]any    `json:"metadata"`
}

// response holds the webhook's verdicts and, if it denied nothing, each proxy's configuration, the
// statuses that istiod writes, and lines of its metrics.
type response struct {
	Verdicts []verdict            `json:"verdicts"`
	Proxies  map[string]resources `json:"proxies"`
	Statuses []written            `json:"statuses"`
	Metrics  []string             `json:"metrics"`
}

// resources are the five kinds of xDS of one proxy; of Secrets there are only the names.
type resources struct {
	Listeners []json.RawMessage `json:"listeners"`
	Routes    []json.RawMessage `json:"routes"`
	Clusters  []json.RawMessage `json:"clusters"`
	Endpoints []json.RawMessage `json:"endpoints"`
	Secrets   []string          `json:"secrets"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	options := log.DefaultOptions()
	options.OutputPaths = []string{"stderr"}
	if err := log.Configure(options); err != nil {
		return err
	}
	if len(os.Args) == 2 && os.Args[1] == "version" {
		return json.NewEncoder(os.Stdout).Encode(version())
	}
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	verdicts, err := admit(asked.Objects)
	if err != nil {
		return err
	}
	answer := response{Verdicts: verdicts, Proxies: map[string]resources{}, Statuses: []written{}, Metrics: []string{}}
	if !slices.ContainsFunc(verdicts, verdict.refused) {
		if err := generate(asked, &answer); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

// What the module istio.io/istio calls itself, and its branch; the Makefile reads both out of it.
var label, branch string

// version tells which Istio is inside: the module's version, and what the module says of itself.
func version() map[string]string {
	said := map[string]string{"label": label, "branch": branch}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "istio.io/istio" {
				said["module"] = module.Version
			}
		}
	}
	return said
}

func generate(asked request, into *response) error {
	exporter, err := monitoring.RegisterPrometheusExporter(nil, nil)
	if err != nil {
		return err
	}
	meshConfig, err := mesh.ApplyMeshConfigDefaults(asked.MeshConfig)
	if err != nil {
		return fmt.Errorf("mesh config: %w", err)
	}
	configs, core, err := split(asked.Objects)
	if err != nil {
		return err
	}
	return test.Wrap(func(t test.Failer) {
		server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
			Configs:                configs,
			KubernetesObjectString: strings.Join(core, "\n---\n"),
			MeshConfig:             meshConfig,
			KubeClientModifier: func(client kube.Client) {
				installGatewayAPI(t, client)
				letGatewaysReadSecrets(client, asked.Proxies)
			},
		})
		statuses := collectStatuses(t, server)
		settle(t, server, statuses)
		fmt.Fprintln(os.Stderr, "controlplane: answering")
		for _, p := range asked.Proxies {
			into.Proxies[p.ID] = configure(t, server, p)
		}
		fmt.Fprintln(os.Stderr, "controlplane: answered")
		into.Statuses = statuses.sorted()
		into.Metrics = metrics(server.PushContext(), exporter)
	})
}

// settle waits until no push and no status has followed another for a while: what the Gateway API's
// controller makes of its objects comes in pushes of its own.
func settle(t test.Failer, server *xds.FakeDiscoveryServer, statuses *statuses) {
	const quiet = 5
	for last, calm, tries := int64(-1), 0, 0; calm < quiet; tries++ {
		if tries == 500 {
			t.Fatal("istiod does not come to rest")
		}
		time.Sleep(10 * time.Millisecond)
		updates := server.Discovery.InboundUpdates.Load()
		seen := updates + statuses.count()
		if calm++; seen != last || server.Discovery.CommittedUpdates.Load() < updates {
			calm = 0
		}
		last = seen
	}
}

// installGatewayAPI gives each CRD the version of the Gateway API to which it belongs. The server
// registers them without, and then ignores the kinds that are newer than the annotation. Two kinds
// it does not register at all.
func installGatewayAPI(t test.Failer, client kube.Client) {
	client.Metadata().(*fake.FakeMetadataClient).PrependReactor("create", "customresourcedefinitions",
		func(action clienttesting.Action) (bool, runtime.Object, error) {
			created := action.(clienttesting.CreateAction).GetObject().(metav1.Object)
			created.SetAnnotations(map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion})
			return false, nil, nil
		})
	clienttest.MakeCRD(t, client, gvr.ListenerSet)
	clienttest.MakeCRD(t, client, gvr.BackendTLSPolicy)
}

// split parts Istio's own objects, which go in parsed, from all others, which go in as text.
func split(objects []json.RawMessage) (configs []config.Config, core []string, err error) {
	for _, object := range objects {
		if !strings.HasSuffix(groupOf(object), istioGroups) {
			core = append(core, string(object))
			continue
		}
		parsed, _, err := crd.ParseInputs(string(object))
		if err != nil {
			return nil, nil, err
		}
		for _, c := range parsed {
			// Without a domain, short host names would be taken as they are and match no service.
			c.Domain = "cluster.local"
			configs = append(configs, c)
		}
	}
	return configs, core, nil
}

// istioGroups is how the groups of Istio's own objects end.
const istioGroups = ".istio.io"

// groupOf gives the API group of an object; for the kinds of core it is their version.
func groupOf(object json.RawMessage) string {
	var head struct{ APIVersion string }
	if json.Unmarshal(object, &head) != nil {
		return ""
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	return group
}

func configure(t test.Failer, server *xds.FakeDiscoveryServer, p proxy) resources {
	raw, err := json.Marshal(p.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	metadata := &model.NodeMetadata{}
	if err := json.Unmarshal(raw, metadata); err != nil {
		t.Fatalf("metadata of %s: %v", p.ID, err)
	}
	metadata.Namespace, metadata.Labels = p.Namespace, p.Labels
	metadata.ClusterID, metadata.IstioVersion = "Kubernetes", p.Version
	node := server.SetupProxy(&model.Proxy{
		Type:            p.Type,
		ID:              p.ID,
		ConfigNamespace: p.Namespace,
		Labels:          p.Labels,
		IPAddresses:     []string{p.IP},
		Metadata:        metadata,
		VerifiedIdentity: &spiffe.Identity{
			TrustDomain: "cluster.local", Namespace: p.Namespace, ServiceAccount: p.Account,
		},
	})
	listeners, clusters := server.Listeners(node), server.Clusters(node)
	return resources{
		Listeners: marshal(t, listeners),
		Routes:    marshal(t, server.RoutesFromListeners(node, listeners)),
		Clusters:  marshal(t, clusters),
		Endpoints: marshal(t, server.Endpoints(node)),
		Secrets:   secretNames(t, server, node, namedSecrets(t, listeners, clusters)),
	}
}

func marshal[M proto.Message](t test.Failer, messages []M) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(messages))
	for _, m := range messages {
		text, err := protomarshal.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}
