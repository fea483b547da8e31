package console

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the scrapes that are answered at once.
const maxScrapes = 4

// Counters are figures since the process began, but for CallsActive,
// Subscriptions and Dialogs.
type Counters struct {
	CallsTotal        uint64 // calls that began
	CallsProtected    uint64 // of them, those whose media was protected
	CallsRefused      uint64 // by policy
	CallsFailed       uint64 // ended by an error before or during the call
	CallsActive       int    // calls now
	Subscriptions     int    // that hold now
	Dialogs           int    // SIP dialogs now, with those that wait for late repetitions
	StrangersAnswered uint64 // requests of strangers that got the one answer
	StrangersDropped  uint64 // requests of strangers beyond the rate limit
	MessagesMalformed uint64 // SIP messages that could not be read
}

// metrics has a registry of its own: what other packages register globally
// is not this server's to show.
type metrics struct {
	registry *prometheus.Registry
	refused  *prometheus.CounterVec
	cut      prometheus.Counter
}

func newMetrics(s *Server, counters func() Counters, version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sipward_console_requests_refused_total",
			Help: "Requests to the console that were turned away, by reason.",
		}, []string{"reason"}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sipward_console_event_streams_cut_total",
			Help: "Event streams that ended because the reader did not keep up.",
		}),
	}
	for _, why := range refusals {
		m.refused.WithLabelValues(why.name) // a series exists before its first event, or rate() misses that one
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sipward_build_info",
		Help:        "Always 1; the version of sipward is a label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	readers := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sipward_console_event_streams",
		Help: "Open event streams.",
	}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(s.readers)
	})
	m.registry.MustRegister(build, m.refused, m.cut, readers,
		callCollector{s.source, counters},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: maxScrapes,
	})
}

// counterDescs pairs each figure of Counters with its metric.
var counterDescs = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Counters) float64
}{
	{plain("sipward_calls_total", "Calls that began."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.CallsTotal) }},
	{plain("sipward_calls_protected_total", "Calls whose media was protected."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.CallsProtected) }},
	{plain("sipward_calls_refused_total", "Calls that policy refused."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.CallsRefused) }},
	{plain("sipward_calls_failed_total", "Calls that an error ended."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.CallsFailed) }},
	{plain("sipward_calls_active", "Calls now."), prometheus.GaugeValue, func(c Counters) float64 { return float64(c.CallsActive) }},
	{plain("sipward_subscriptions", "Subscriptions that are carried now."), prometheus.GaugeValue, func(c Counters) float64 { return float64(c.Subscriptions) }},
	{plain("sipward_dialogs", "SIP dialogs now; those of a call that is over stay for half a minute, for late repetitions."), prometheus.GaugeValue, func(c Counters) float64 { return float64(c.Dialogs) }},
	{plain("sipward_strangers_answered_total", "Requests of strangers that were answered."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.StrangersAnswered) }},
	{plain("sipward_strangers_dropped_total", "Requests of strangers dropped beyond the rate limit."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.StrangersDropped) }},
	{plain("sipward_messages_malformed_total", "SIP messages that could not be read."), prometheus.CounterValue, func(c Counters) float64 { return float64(c.MessagesMalformed) }},
}

// The figures of live calls go down when a call ends: gauges.
var (
	liveCalls   = plain("sipward_live_calls", "Live calls by protection.", "protection")
	livePackets = plain("sipward_live_calls_packets", "RTP and RTCP packets of live calls, by side and direction as sipward sees it.", "side", "direction")
	liveDropped = plain("sipward_live_calls_packets_dropped", "Packets of live calls that were dropped: failed authentication, replayed, or from a source not allowed.", "side", "reason")
	liveLost    = plain("sipward_live_calls_packets_lost", "Packets of live calls that never arrived, by side.", "side")
	liveBytes   = plain("sipward_live_calls_bytes", "Octets of RTP and RTCP of live calls, by side.", "side")
)

// Labels with these values have a series even while it is 0; every other value
// counts as "other", so that no call can make series.
var (
	protections = []string{"none", "negotiating", "srtp", "failed", "passed-through", "other"}
	sides       = []string{"inside", "outside", "other"}
)

func plain(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// callCollector reads the calls anew at each scrape.
type callCollector struct {
	source   Source
	counters func() Counters
}

func (c callCollector) Describe(ch chan<- *prometheus.Desc) {
	if c.counters != nil {
		for _, d := range counterDescs {
			ch <- d.desc
		}
	}
	for _, d := range []*prometheus.Desc{liveCalls, livePackets, liveDropped, liveLost, liveBytes} {
		ch <- d
	}
}

func (c callCollector) Collect(ch chan<- prometheus.Metric) {
	if c.counters != nil {
		now := c.counters()
		for _, d := range counterDescs {
			ch <- prometheus.MustNewConstMetric(d.desc, d.kind, d.value(now))
		}
	}
	calls := map[string]uint64{}
	type sum struct{ in, out, auth, replay, source, lost, bytes uint64 }
	legs := map[string]sum{}
	for _, v := range c.source.Calls() {
		calls[oneOf(protections, v.Protection)]++
		for _, l := range v.Legs {
			side := oneOf(sides, l.Side)
			t := legs[side]
			t.in += l.PacketsIn
			t.out += l.PacketsOut
			t.auth += l.DroppedAuth
			t.replay += l.DroppedReplay
			t.source += l.DroppedSource
			t.lost += l.Lost
			t.bytes += l.Bytes
			legs[side] = t
		}
	}
	gauge := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for _, p := range protections {
		gauge(liveCalls, calls[p], p)
	}
	for _, side := range sides {
		t := legs[side]
		gauge(livePackets, t.in, side, "in")
		gauge(livePackets, t.out, side, "out")
		gauge(liveDropped, t.auth, side, "auth")
		gauge(liveDropped, t.replay, side, "replay")
		gauge(liveDropped, t.source, side, "source")
		gauge(liveLost, t.lost, side)
		gauge(liveBytes, t.bytes, side)
	}
}

func oneOf(known []string, value string) string {
	for _, k := range known {
		if k == value {
			return k
		}
	}
	return "other"
}
