package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/gateway-api/pkg/consts"

	"istio.io/istio/istioctl/pkg/cli"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	"istio.io/istio/pkg/test"
)

// lab is the cli.Context of istioctl's commands: whatever they ask of a cluster, it answers.
type lab struct {
	cli.Context
	flags   *pflag.FlagSet
	objects []runtime.Object
	pods    []*corev1.Pod
	proxies
}

// proxies is where the Envoys of the lab answer, and what of their answers is the lab's own.
type proxies struct {
	Admin  map[string]string `json:"admin"`  // pod.namespace to host:port
	Shadow string            `json:"shadow"` // how the addresses of applications behind sidecars begin
	Pods   string            `json:"pods"`   // and those of their pods
	Posts  string            `json:"posts"`  // the file that tells what was changed in a proxy
}

func newLab(path string, flags *pflag.FlagSet) (*lab, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Objects []json.RawMessage `json:"objects"`
		proxies
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l := &lab{Context: cli.NewCLIContext(nil), flags: flags, proxies: file.proxies}
	decode := kube.IstioCodec.UniversalDeserializer().Decode
	for _, text := range file.Objects {
		object, _, err := decode(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		l.objects = append(l.objects, object)
		if pod, ok := object.(*corev1.Pod); ok {
			l.pods = append(l.pods, pod)
		}
	}
	return l, nil
}

// bundle is how a CRD of the Gateway API tells its version; without it Istio ignores the newer kinds.
var bundle = map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion}

// answerSelectedSecrets answers analyze's search for Secrets of remote clusters: there are none.
// Left to the in-memory client, a list that no informer made would be waited for without end.
func answerSelectedSecrets(inner kube.Client) {
	inner.Kube().(*fake.Clientset).PrependReactor("list", "secrets",
		func(action clienttesting.Action) (bool, runtime.Object, error) {
			selector := action.(clienttesting.ListAction).GetListRestrictions().Labels
			return !selector.Empty(), &corev1.SecretList{}, nil
		})
}

// plain makes the in-memory client that holds the lab's objects.
func (l *lab) plain() (kube.CLIClient, error) {
	// analyze turns the watcher of CRDs on itself and panics if it is: make the client without.
	newWatcher := kube.NewCrdWatcher
	kube.NewCrdWatcher = nil
	inner := kube.NewFakeClient(l.objects...)
	kube.NewCrdWatcher = newWatcher
	answerSelectedSecrets(inner)
	err := test.Wrap(func(t test.Failer) {
		for _, s := range collections.PilotGatewayAPI().All() {
			clienttest.MakeCRDWithAnnotations(t, inner, s.GroupVersionResource(), bundle)
		}
	})
	return inner, err
}

func (l *lab) CLIClient() (kube.CLIClient, error) {
	inner, err := l.plain()
	return client{inner, l.proxies}, err
}

// analyzed is the context of analyze, which insists on the plain client.
type analyzed struct{ *lab }

func (a analyzed) CLIClient() (kube.CLIClient, error) { return a.plain() }

func (l *lab) Namespace() string { return l.flag(cli.FlagNamespace) }

func (l *lab) IstioNamespace() string { return l.flag(cli.FlagIstioNamespace) }

func (l *lab) flag(name string) string { return l.flags.Lookup(name).Value.String() }

func (l *lab) NamespaceOrDefault(namespace string) string {
	if namespace == "" {
		return metav1.NamespaceDefault
	}
	return namespace
}

func (l *lab) InferPodInfoFromTypedResource(name, namespace string) (pod, ns string, err error) {
	pods, ns, err := l.InferPodsFromTypedResource(name, namespace)
	if err != nil {
		return "", "", err
	}
	return pods[0], ns, nil
}

// InferPodsFromTypedResource finds the pods of "pod", "pod.namespace" or "deploy/name".
func (l *lab) InferPodsFromTypedResource(name, namespace string) (pods []string, ns string, err error) {
	kind, bare, typed := strings.Cut(name, "/")
	if !typed {
		kind, bare = "pod", name
	}
	if short, inside, ok := strings.Cut(bare, "."); ok {
		bare, namespace = short, inside
	}
	ns = l.NamespaceOrDefault(namespace)
	selector, err := l.selector(kind, bare, ns)
	if err != nil {
		return nil, "", err
	}
	for _, pod := range l.pods {
		if pod.Namespace == ns && selector(pod) {
			pods = append(pods, pod.Name)
		}
	}
	if len(pods) == 0 {
		return nil, "", fmt.Errorf("pods %q not found", bare)
	}
	return pods, ns, nil
}

func (l *lab) selector(kind, name, namespace string) (func(*corev1.Pod) bool, error) {
	switch kind {
	case "pod", "pods", "po":
		return func(pod *corev1.Pod) bool { return pod.Name == name }, nil
	case "deploy", "deployment", "deployments":
		for _, object := range l.objects {
			if d, ok := object.(*appsv1.Deployment); ok && d.Name == name && d.Namespace == namespace {
				wanted, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
				return func(pod *corev1.Pod) bool { return wanted.Matches(labels.Set(pod.Labels)) }, err
			}
		}
		return nil, fmt.Errorf("deployments.apps %q not found", name)
	}
	return nil, fmt.Errorf("the lab does not look up pods by %q: name a pod or deploy/NAME", kind)
}

// client reaches a proxy by its address in the lab instead of a port-forward.
type client struct {
	kube.CLIClient
	proxies
}

func (c client) EnvoyDoWithPort(
	ctx context.Context, pod, namespace, method, path string, _ int,
) ([]byte, error) {
	address, ok := c.Admin[pod+"."+namespace]
	if !ok {
		return nil, fmt.Errorf("pod %s.%s has no proxy", pod, namespace)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if err := c.note(method, pod+"."+namespace, path); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.HasPrefix(path, "config_dump") {
		return body, err
	}
	return c.asInAPod(body)
}

// note writes down a request that changes a proxy: whoever answers from a recording must repeat it.
func (p proxies) note(method, proxy, path string) error {
	if method == http.MethodGet {
		return nil
	}
	file, err := os.OpenFile(p.Posts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	return json.NewEncoder(file).Encode([]string{proxy, method, path})
}

// asInAPod gives a config dump without what the lab did to it: the addresses of applications behind
// sidecars are their pods', virtualInbound has one address, as iptables would have it. And it sorts
// secrets by name, which Envoy gives in any order.
func (p proxies) asInAPod(body []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(body, []byte(p.Shadow), []byte(p.Pods))))
	decoder.UseNumber()
	var dump any
	if err := decoder.Decode(&dump); err != nil {
		return nil, err
	}
	tidy(dump)
	return json.Marshal(dump)
}

func tidy(value any) {
	switch v := value.(type) {
	case map[string]any:
		if v["name"] == "virtualInbound" {
			delete(v, "additional_addresses")
		}
		for _, state := range []string{"dynamic_active_secrets", "dynamic_warming_secrets"} {
			secrets, _ := v[state].([]any)
			slices.SortFunc(secrets, func(a, b any) int { return cmp.Compare(secretName(a), secretName(b)) })
		}
		for _, inner := range v {
			tidy(inner)
		}
	case []any:
		for _, inner := range v {
			tidy(inner)
		}
	}
}

func secretName(secret any) string {
	fields, _ := secret.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}
