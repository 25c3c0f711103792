package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"

	admission "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"

	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/webhooks/validation/server"
)

// verdict is what was said of one object before it was kept: that it has a field which its kind does
// not know, which on a cluster the API server finds; or what Istio's validating webhook said, which
// is asked about Istio's own objects only.
type verdict struct {
	Object    string   `json:"object"` // kind namespace/name
	Malformed string   `json:"malformed,omitempty"`
	Denied    string   `json:"denied,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// admit asks about each of Istio's objects and of the Gateway API's, and returns the verdicts that
// say something.
func admit(objects []json.RawMessage) ([]verdict, error) {
	mux := http.NewServeMux()
	if _, err := server.New(server.Options{
		Schemas: collections.Istio, DomainSuffix: "cluster.local", Mux: mux,
	}); err != nil {
		return nil, err
	}
	verdicts := []verdict{}
	for _, object := range objects {
		group := groupOf(object)
		if !strings.HasSuffix(group, istioGroups) && group != gvk.KubernetesGateway.Group {
			continue
		}
		v, err := review(mux, object)
		if err != nil {
			return nil, err
		}
		if v.refused() || len(v.Warnings) > 0 {
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}

func review(webhook http.Handler, object json.RawMessage) (verdict, error) {
	var head metav1.PartialObjectMetadata
	if err := json.Unmarshal(object, &head); err != nil {
		return verdict{}, err
	}
	kind := head.GroupVersionKind()
	v := verdict{Object: fmt.Sprintf("%s %s/%s", kind.Kind, head.Namespace, head.Name)}
	if kind.Group == gvk.KubernetesGateway.Group {
		v.Malformed = unknownIn(object)
		return v, nil
	}
	if v.Malformed = malformed(kind, object); v.Malformed != "" {
		return v, nil
	}
	body, err := json.Marshal(admission.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admission.AdmissionRequest{
			Kind:      metav1.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind},
			Namespace: head.Namespace,
			Operation: admission.Create,
			Object:    runtime.RawExtension{Raw: object},
		},
	})
	if err != nil {
		return verdict{}, err
	}
	request := httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	webhook.ServeHTTP(recorder, request)
	var answer admission.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil {
		return verdict{}, fmt.Errorf("webhook on %s: %s", v.Object, recorder.Body)
	}
	v.Warnings = answer.Response.Warnings
	if !answer.Response.Allowed {
		v.Denied = answer.Response.Result.Message
	}
	return v, nil
}

// malformed says which field or version of an object its kind does not have, or nothing.
func malformed(kind schema.GroupVersionKind, object json.RawMessage) string {
	known, ok := collections.Istio.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind))
	if !ok {
		return fmt.Sprintf("no matches for kind %q in version %q", kind.Kind, kind.GroupVersion())
	}
	var body struct{ Spec json.RawMessage }
	if json.Unmarshal(object, &body) != nil || body.Spec == nil {
		return ""
	}
	spec, err := known.NewInstance()
	if err != nil {
		return err.Error()
	}
	if err := config.ApplyJSONStrict(spec, string(body.Spec)); err != nil {
		if field := unknownField.FindString(err.Error()); field != "" {
			return field
		}
	}
	return "" // anything else is the webhook's to say
}

// unknownIn says which field or version of an object of the Gateway API its kind does not have.
func unknownIn(object json.RawMessage) string {
	options := serializer.SerializerOptions{Strict: true}
	scheme := kube.IstioScheme
	_, kind, err := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, options).
		Decode(object, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return fmt.Sprintf("no matches for kind %q in version %q", kind.Kind, kind.GroupVersion())
	}
	if err != nil {
		return strings.TrimPrefix(err.Error(), "strict decoding error: ")
	}
	return ""
}

var unknownField = regexp.MustCompile(`unknown field "[^"]+"`)

func (v verdict) refused() bool { return v.Denied != "" || v.Malformed != "" }
