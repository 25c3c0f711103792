package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	admission "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/webhooks/validation/server"
)

// verdict is what Istio's validating webhook said of one object.
type verdict struct {
	Object   string   `json:"object"` // kind namespace/name
	Denied   string   `json:"denied,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// admit asks the webhook about each of Istio's objects, and returns the verdicts that say something.
func admit(objects []json.RawMessage) ([]verdict, error) {
	mux := http.NewServeMux()
	if _, err := server.New(server.Options{
		Schemas: collections.Istio, DomainSuffix: "cluster.local", Mux: mux,
	}); err != nil {
		return nil, err
	}
	verdicts := []verdict{}
	for _, object := range objects {
		if !isIstio(object) {
			continue
		}
		v, err := review(mux, object)
		if err != nil {
			return nil, err
		}
		if v.Denied != "" || len(v.Warnings) > 0 {
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

func anyDenied(verdicts []verdict) bool {
	for _, v := range verdicts {
		if v.Denied != "" {
			return true
		}
	}
	return false
}
