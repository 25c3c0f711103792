package main

import (
	"cmp"
	"slices"
	"sync"

	"istio.io/istio/pilot/pkg/config/kube/gateway"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/status"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/test"
)

// object names an object as the lab does.
type object struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// written is the status that istiod writes for an object.
type written struct {
	object
	Status any `json:"status"`
}

// statuses is where istiod's status manager writes: a store that keeps nothing but statuses.
type statuses struct {
	model.ConfigStore // the rest of a store, which the manager never asks for
	mu                sync.Mutex
	kept              map[object]any
	writes            int64
}

// collectStatuses makes istiod write statuses, as it does on a cluster once it is the leader.
func collectStatuses(t test.Failer, server *xds.FakeDiscoveryServer) *statuses {
	s := &statuses{kept: map[object]any{}}
	manager := status.NewManager(s)
	manager.Start(test.NewStop(t))
	server.Env().GatewayAPIController.(*gateway.Controller).SetStatusWrite(true, manager)
	return s
}

// Get gives as much of an object as the manager needs to write its status.
func (s *statuses) Get(kind config.GroupVersionKind, name, namespace string) *config.Config {
	return &config.Config{Meta: config.Meta{GroupVersionKind: kind, Name: name, Namespace: namespace}}
}

// UpdateStatus keeps the status of an object.
func (s *statuses) UpdateStatus(c config.Config) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[object{c.GroupVersionKind.Group, c.GroupVersionKind.Kind, c.Namespace, c.Name}] = c.Status
	s.writes++
	return "", nil
}

// count says how many statuses have been written so far.
func (s *statuses) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// sorted gives the last status of each object.
func (s *statuses) sorted() []written {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []written{}
	for o, value := range s.kept {
		out = append(out, written{o, value})
	}
	slices.SortFunc(out, func(a, b written) int {
		return cmp.Or(
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		)
	})
	return out
}
