package main

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"istio.io/istio/pilot/pkg/model"
)

// deterministic names istiod's metrics that follow from the objects alone: no times, and no counts
// of events that come in another number each time.
var deterministic = map[string]bool{
	"endpoint_no_pod":                                       true,
	"pilot_conflict_inbound_listener":                       true,
	"pilot_conflict_outbound_listener_tcp_over_current_tcp": true,
	"pilot_destrule_subsets":                                true,
	"pilot_dns_cluster_without_endpoints":                   true,
	"pilot_duplicate_envoy_clusters":                        true,
	"pilot_eds_no_instances":                                true,
	"pilot_endpoint_not_ready":                              true,
	"pilot_no_ip":                                           true,
	"pilot_sds_certificate_errors_total":                    true,
	"pilot_total_rejected_configs":                          true,
	"pilot_vservice_dup_domain":                             true,
}

// metrics gives the lines of istiod's /metrics for those. Some gauges are set from what was noticed
// while proxies were configured, which istiod does when the next push begins.
func metrics(push *model.PushContext, exporter http.Handler) []string {
	push.UpdateMetrics()
	recorder := httptest.NewRecorder()
	exporter.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	lines := []string{}
	for line := range strings.Lines(recorder.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if end := strings.IndexAny(name, " {"); end > 0 && deterministic[name[:end]] {
			lines = append(lines, line)
		}
	}
	return lines
}
