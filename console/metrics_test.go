package console

import (
	"bufio"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/sipward/sipward/b2bua"
)

// metric gathers one series without labels.
func metric(t *testing.T, s *Server, name string) float64 {
	t.Helper()
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	odd := b2bua.View{ID: "odd", Protection: "never heard of", Legs: []b2bua.LegView{{Side: "nowhere", PacketsIn: 5}}}
	src := newFakeSource(view("a", 0), view("b", 1), odd, b2bua.View{ID: "n", Protection: "none"})
	counters := func() Counters {
		return Counters{CallsTotal: 11, CallsProtected: 12, CallsRefused: 13, CallsFailed: 14, CallsActive: 15,
			StrangersAnswered: 16, StrangersDropped: 17, MessagesMalformed: 18, Subscriptions: 19, Dialogs: 20}
	}
	_, base := serve(t, Options{Source: src, Counters: counters, Version: "1.2.3"})
	ask(t, base+"/api/calls", nil)
	resp, text := ask(t, base+"/metrics", nil)
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("Content-Type %q", resp.Header.Get("Content-Type"))
	}
	got := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			got[name] = v
		}
	}
	for series, want := range map[string]float64{
		`sipward_build_info{version="1.2.3"}`:                                1,
		`sipward_calls_total`:                                                11,
		`sipward_calls_protected_total`:                                      12,
		`sipward_calls_refused_total`:                                        13,
		`sipward_calls_failed_total`:                                         14,
		`sipward_calls_active`:                                               15,
		`sipward_subscriptions`:                                              19,
		`sipward_dialogs`:                                                    20,
		`sipward_strangers_answered_total`:                                   16,
		`sipward_strangers_dropped_total`:                                    17,
		`sipward_messages_malformed_total`:                                   18,
		`sipward_live_calls{protection="srtp"}`:                              2,
		`sipward_live_calls{protection="none"}`:                              1,
		`sipward_live_calls{protection="other"}`:                             1,
		`sipward_live_calls{protection="failed"}`:                            0,
		`sipward_live_calls_packets{direction="in",side="inside"}`:           20,
		`sipward_live_calls_packets{direction="out",side="outside"}`:         20,
		`sipward_live_calls_packets{direction="in",side="other"}`:            5,
		`sipward_live_calls_packets_dropped{reason="auth",side="outside"}`:   4,
		`sipward_live_calls_packets_dropped{reason="replay",side="outside"}`: 6,
		`sipward_live_calls_packets_dropped{reason="source",side="inside"}`:  2,
		`sipward_live_calls_packets_lost{side="outside"}`:                    8,
		`sipward_live_calls_bytes{side="inside"}`:                            6000,
		`sipward_console_requests_refused_total{reason="host"}`:              0,
		`sipward_console_event_streams`:                                      0,
		`sipward_console_event_streams_cut_total`:                            0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v (present: %v), want %v", series, v, ok, want)
		}
	}
	if got["go_goroutines"] == 0 {
		t.Error("no figures of the process")
	}
	// The names follow Prometheus' conventions. sipward_ alone: what the
	// library's own collectors are named is not decided here.
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sipward_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestMetricsWithoutCounters(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	_, text := ask(t, base+"/metrics", nil)
	if strings.Contains(text, "sipward_calls_total") {
		t.Error("figures that nobody counts are shown as 0")
	}
	if !strings.Contains(text, "sipward_live_calls{") {
		t.Error("the live calls are missing")
	}
}

func TestMetricsCountRefusals(t *testing.T) {
	t.Parallel()
	s, base := serve(t, Options{Source: newFakeSource(), Token: testToken})
	ask(t, base+"/metrics", nil)
	ask(t, base+"/metrics", nil)
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sipward_console_requests_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			want := 0.0
			if m.GetLabel()[0].GetValue() == "token" {
				want = 2
			}
			if got := m.GetCounter().GetValue(); got != want {
				t.Errorf("%v: %v, want %v", m.GetLabel(), got, want)
			}
		}
		return
	}
	t.Error("refusals are not counted")
}
