//go:build interop && linux

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sipward is one process of the program under test.
type sipward struct {
	*process
	space      *space // where it runs
	ports      sipwardPorts
	api        string      // its URL
	client     http.Client // asks it
	events     *process    // what "sipward calls --watch" prints
	configFile string
}

// sipwardPorts are where one sipward listens. The ports for media follow.
type sipwardPorts struct{ inside, outside, api, media int }

const mediaPorts = 40

func newSipwardPorts(t *testing.T) sipwardPorts {
	first := freePorts(t, 4+mediaPorts)
	return sipwardPorts{inside: first, outside: first + 1, api: first + 2, media: first + 4}
}

// call is what "sipward calls --json" tells of one call, as far as the tests look
// at it. It is declared here a second time because programs of others rely on the
// names too.
type call struct {
	ID         string `json:"id"`
	From       string `json:"from"`
	To         string `json:"to"`
	Direction  string `json:"direction"`
	State      string `json:"state"`
	Protection string `json:"protection"`
	Group      string `json:"group"`
	Suite      string `json:"suite"`
	SASWords   string `json:"sas_words"`
	SASCode    string `json:"sas_code"`
	Rekeyings  int    `json:"rekeyings"`
	Trust      string `json:"trust"`
	Reason     string `json:"reason"`
	Legs       []leg  `json:"legs"`
	Continues  string `json:"continues"`
}

type leg struct {
	Side          string `json:"side"`
	PacketsIn     uint64 `json:"packets_in"`
	PacketsOut    uint64 `json:"packets_out"`
	Lost          uint64 `json:"lost"`
	DroppedAuth   uint64 `json:"dropped_auth"`
	DroppedReplay uint64 `json:"dropped_replay"`
	DroppedSource uint64 `json:"dropped_source"`
}

// end describes where one sipward stands: its outside address, the far sipward
// and how to reach it, and the port of its phone.
type end struct {
	name, outside  string
	ports          sipwardPorts
	far            string // outside address of the far sipward
	farPort        int
	wire           string // transport between the two: udp or tcp
	user           string // who is called
	phone          int    // port of the phone that is called, at the called end
	called         bool   // this is the called end
	phoneTransport string // of that phone
}

// startSipward starts "sipward run" and waits until it is ready.
func startSipward(t *testing.T, e end) *sipward {
	t.Helper()
	dir := t.TempDir()
	s := &sipward{ports: e.ports, configFile: filepath.Join(dir, "sipward.yaml")}
	route := fmt.Sprintf("{match: %q, from: inside, to: \"sip:*@%s:%d;transport=%s\", side: outside, peer: far}", e.user, e.far, e.farPort, e.wire)
	if e.called {
		route = fmt.Sprintf("{match: %q, from: outside, to: \"sip:*@%s:%d;transport=%s\", side: inside}", e.user, phoneHost, e.phone, e.phoneTransport)
	}
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phones, side: inside, address: "%[1]s:%[2]d", networks: [%[1]s/32]}
  - {name: wire, side: outside, address: "%[3]s:%[4]d", accept: peers}
peers:
  - {name: far, networks: [%[5]s/32]}
routes:
  - %[6]s
policy: {listed_peers: require, unknown_peers: refuse}
media: {ports: %[7]d-%[8]d}
api: {listen: "%[1]s:%[9]d"}
log: {level: debug, format: json}
`, phoneHost, e.ports.inside, e.outside, e.ports.outside, e.far, route, e.ports.media, e.ports.media+mediaPorts-1, e.ports.api))

	s.run(t, e.name, dir)
	return s
}

// run checks the configuration file and starts the process with it.
func (s *sipward) run(t *testing.T, name, dir string) {
	t.Helper()
	if out, err := s.ran("check", "--config", s.configFile); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.process = startIn(s.space, t, name, dir, sipwardBin, "run", "--config", s.configFile)
	s.says("sipward is ready")
	// It may come late: it begins with the calls that are there already.
	s.api = fmt.Sprintf("http://%s:%d", phoneHost, s.ports.api)
	s.client = http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) { return s.space.dial(address) },
	}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.events = startIn(s.space, t, "the events of "+name, dir, sipwardBin, "calls", "--watch", "--json", "--api", s.api)
}

// ran runs a verb of the program to its end and returns what it printed.
func (s *sipward) ran(args ...string) ([]byte, error) {
	words := s.space.command(sipwardBin, args...)
	return ran(words[0], words[1:]...)
}

// calls are the live calls, as the API shows them: the tests ask often, and each
// "sipward calls" is a process that takes time from the phones.
func (s *sipward) calls() ([]call, error) {
	res, err := s.client.Get(s.api + "/api/calls")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", res.Request.URL, res.Status)
	}
	var calls []call
	err = json.NewDecoder(res.Body).Decode(&calls)
	return calls, err
}

// listed are the live calls, as "sipward calls" prints them.
func (s *sipward) listed() ([]call, error) {
	out, err := s.ran("calls", "--json", "--api", s.api)
	if err != nil {
		return nil, err
	}
	var calls []call
	if err := json.Unmarshal(out, &calls); err != nil {
		return nil, fmt.Errorf("sipward calls --json: %w in %q", err, out)
	}
	return calls, nil
}

// call is the only live call.
func (s *sipward) call() call {
	s.t.Helper()
	calls, err := s.calls()
	if err != nil || len(calls) != 1 {
		s.t.Fatalf("%s shows %d calls, want 1 (error: %v)", s.name, len(calls), err)
	}
	return calls[0]
}

// awaitCall waits for an event of a call that f wants.
func (s *sipward) awaitCall(what string, f func(event string, c call) bool) {
	s.t.Helper()
	s.events.shows(what, func(text string) bool {
		for line := range strings.Lines(text) {
			var e struct {
				Type string `json:"type"`
				Call call   `json:"call"`
			}
			if json.Unmarshal([]byte(line), &e) == nil && f(e.Type, e.Call) {
				return true
			}
		}
		return false
	})
}

// awaitSAS waits until both people could read the words to each other.
func (s *sipward) awaitSAS() {
	s.t.Helper()
	s.awaitCall("an established call with its words", func(_ string, c call) bool {
		return c.State == "established" && c.SASWords != ""
	})
}

// awaitTrust waits until there is one call, protected, with its words, and returns
// it. Calls that were refused before do not count.
func (s *sipward) awaitTrust() call {
	s.t.Helper()
	var found call
	until(s.t, "a protected call at "+s.name, 100*time.Millisecond, func() error {
		calls, err := s.calls()
		if err != nil {
			return err
		}
		if len(calls) != 1 || calls[0].State != "established" || calls[0].Protection != "srtp" || !trusted(calls[0]) || !threeWords.MatchString(calls[0].SASWords) {
			return fmt.Errorf("its calls are %+v", calls)
		}
		found = calls[0]
		return nil
	})
	return found
}

// awaitGone waits until a call has ended, and checks that none is left.
func (s *sipward) awaitGone(gone call) {
	s.t.Helper()
	s.awaitCall("the end of the call", func(event string, c call) bool { return event == "call-ended" && c.ID == gone.ID })
	if calls, err := s.listed(); err != nil || len(calls) != 0 {
		s.t.Errorf("%s still shows %d calls after the end (error: %v)", s.name, len(calls), err)
	}
}

// awaitNone waits until no call is left.
func (s *sipward) awaitNone() {
	s.t.Helper()
	until(s.t, s.name+" has no calls", 50*time.Millisecond, func() error {
		calls, err := s.calls()
		if err == nil && len(calls) != 0 {
			err = fmt.Errorf("its calls are %+v", calls)
		}
		return err
	})
}

// awaitEnd waits until the call has ended, and checks that it is gone.
func (s *sipward) awaitEnd() {
	s.t.Helper()
	s.awaitCall("the end of the call", func(event string, _ call) bool { return event == "call-ended" })
	if calls, err := s.listed(); err != nil || len(calls) != 0 {
		s.t.Errorf("%s still shows %d calls after the end (error: %v)", s.name, len(calls), err)
	}
}

// stop ends the process as a service manager does, and looks at its log.
func (s *sipward) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.wait(10 * time.Second)
	// Its server ended before it did, which is how it says that something is amiss.
	<-s.events.done
	logged := 0
	for line := range strings.Lines(s.out.String()) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "goroutine ") {
				s.t.Errorf("%s: %s", s.name, line)
			}
			continue
		}
		logged++
		switch entry.Level {
		case "ERROR":
			s.t.Errorf("%s logged an error: %s", s.name, line)
		case "WARN":
			s.t.Logf("%s warned: %s", s.name, line)
		}
	}
	if logged == 0 {
		s.t.Errorf("%s logged nothing that can be read", s.name)
	}
}

// trusted says whether a call is worth what one between sipwards is: the first
// with a key that nobody has checked, later ones with the key of the first.
func trusted(c call) bool { return c.Trust == "encrypted" || c.Trust == "pinned" }
