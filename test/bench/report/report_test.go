package report

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/test/bench/compare"
	"github.com/sipward/sipward/test/bench/load"
)

// samples are a case with both relays, one with sipward alone and one of which
// nothing is left.
func samples() []*compare.Case {
	result := func(cpu, p99 time.Duration) *load.Result {
		return &load.Result{Sent: 1000, Delivered: 1000, CPU: 1000 * cpu, Latency: load.Spread{P50: p99 / 2, P99: p99, P999: 2 * p99}}
	}
	both := &compare.Case{Suite: "AEAD_AES_128_GCM", Calls: 500}
	both.Add(map[string]*load.Result{compare.Sipward: result(5*time.Microsecond, 180*time.Microsecond), compare.RTPEngine: result(10*time.Microsecond, 80*time.Microsecond)})
	alone := &compare.Case{Suite: "AES_CM_128_HMAC_SHA1_80", Calls: 500, Missing: "not installed"}
	alone.Add(map[string]*load.Result{compare.Sipward: result(6*time.Microsecond, 90*time.Microsecond)})
	return []*compare.Case{both, alone, {Suite: "AEAD_AES_128_GCM", Calls: 1000, Thrown: []string{"the generator was late"}}}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	line, err := Ratios(samples())
	if err != nil || strings.Contains(string(line), "\n") {
		t.Fatalf("%s, %v", line, err)
	}
	var got struct {
		GCM500  *float64            `json:"percall_gcm_500"`
		GCM1000 *float64            `json:"percall_gcm_1000"`
		CM500   *float64            `json:"percall_cm_500"`
		P99     map[string]*float64 `json:"p99_us"`
		Reason  map[string]string   `json:"reason"`
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got.GCM500 == nil || *got.GCM500 != 0.5 || got.GCM1000 != nil || got.CM500 != nil {
		t.Errorf("ratios in %s", line)
	}
	if len(got.P99) != 3 || *got.P99["percall_gcm_500"] != 180 || got.P99["percall_gcm_1000"] != nil || *got.P99["percall_cm_500"] != 90 {
		t.Errorf("latency in %s", line)
	}
	if len(got.Reason) != 2 || got.Reason["percall_cm_500"] != "not installed" || !strings.Contains(got.Reason["percall_gcm_1000"], "late") {
		t.Errorf("reasons in %s", line)
	}
}

// Where rtpengine was overrun there still is what sipward took, and the ratio to what
// rtpengine takes of fewer calls.
func TestRatiosWhereRTPEngineIsOverrun(t *testing.T) {
	t.Parallel()
	cases := samples()
	c := &compare.Case{Suite: "AEAD_AES_128_GCM", Calls: 1000, Thrown: []string{"rtpengine lost 2.3 %", "the generator was late"}}
	c.Overrun(&load.Result{Sent: 1000, Delivered: 1000, CPU: 4 * time.Millisecond, Latency: load.Spread{P99: 1500 * time.Microsecond}}, "rtpengine lost 2.3 %")
	cases[2] = c
	line, err := Ratios(cases)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Ratio  float64            `json:"percall_gcm_1000"`
		P99    map[string]float64 `json:"p99_us"`
		Reason map[string]string  `json:"reason"`
	}
	err = json.Unmarshal(line, &got)
	why := got.Reason["percall_gcm_1000"]
	if err != nil || got.Ratio != 0.4 || got.P99["percall_gcm_1000"] != 1500 || !strings.Contains(why, "lost 2.3 %") || !strings.Contains(why, "at 500 calls") {
		t.Errorf("%s, %v", line, err)
	}
	if text := Table(cases, nil); !strings.Contains(text, "| 1000 | 4.00 µs | – | – |") {
		t.Errorf("table:\n%s", text)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	text := Table(samples(), []compare.Held{{Suite: "AEAD_AES_128_GCM", Relay: compare.Sipward, Calls: 1800, AtLeast: true}})
	for _, want := range []string{"| 5.00 µs | 10.00 µs | **0.50** (0.50 to 0.50) | 90 / 180 / 360 µs | 40 / 80 / 160 µs |", "| 6.00 µs | – | – |", "at least 1800"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "performance.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + begin + "old\n" + end + "after\n")
	for _, text := range []string{"new\n", "newer\n"} {
		if err := Replace(file, text); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(file); string(got) != "before\n"+begin+text+end+"after\n" {
			t.Errorf("%s", got)
		}
	}
	for _, text := range []string{"", begin, end + begin, begin + end + begin + end} {
		write(text)
		if err := Replace(file, "new\n"); err == nil {
			t.Errorf("%q: no error", text)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// The file that make bench writes into has its markers.
func TestDocumentHasMarkers(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), begin) != 1 || strings.Count(string(b), end) != 1 {
		t.Error("docs/performance.md has no place for the table")
	}
}

func TestPlotIsXMLWithABarForEachFigure(t *testing.T) {
	t.Parallel()
	plot := Plot(samples())
	for d := xml.NewDecoder(strings.NewReader(plot)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// One of each colour explains it.
	if sipward, rtpengine := strings.Count(plot, colours[compare.Sipward])-1, strings.Count(plot, colours[compare.RTPEngine])-1; sipward != 2 || rtpengine != 1 {
		t.Errorf("%d and %d bars", sipward, rtpengine)
	}
	if Plot(nil) == "" {
		t.Error("no plot of nothing")
	}
}
