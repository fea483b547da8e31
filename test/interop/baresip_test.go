//go:build interop && linux

package interop

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

// baresipModules is where the Debian package has them.
const baresipModules = "/usr/lib/baresip/modules"

// Events of baresip that the tests wait for.
const (
	incoming    = "CALL_INCOMING"
	ringing     = "CALL_RINGING"
	established = "CALL_ESTABLISHED"
	closed      = "CALL_CLOSED"
	digit       = "CALL_DTMF_START"
	held        = "held" // no event of baresip's
)

// baresip is a softphone without a window, told what to do over its ctrl_tcp
// module: JSON in netstrings, both ways.
type baresip struct {
	*process
	user    string
	dir     string
	sip     int // port for SIP over UDP and TCP
	rtp     [2]int
	control net.Conn
	events  chan phoneEvent
}

// phoneEvent is what a phone reports by itself.
type phoneEvent struct {
	Type  string `json:"type"`
	Param string `json:"param"`
}

// startBaresip starts a phone without an account that says voice for two minutes,
// over and over. With an outbound proxy, an address with a port, everything it
// sends goes there.
func startBaresip(t *testing.T, user string, voice []int16, outbound, transport string) *baresip {
	t.Helper()
	return startPhone(t, phone{user: user, voice: voice, outbound: outbound, transport: transport})
}

// phone describes a baresip. With a password, or at a domain that asks for none, it
// registers there.
type phone struct {
	name             string // of the device, where a user has several
	user             string
	domain, password string
	open             bool // its domain asks for no password
	voice            []int16
	outbound         string // proxy, an address with a port
	transport        string
	space            *space   // where it runs
	codecs           []string // in lower case; none: pcmu alone
	video            bool     // it can show a test picture (VP8)
	early            bool     // it answers every call with early media at once
}

// audioCodecs are the codecs that a phone has.
func (o phone) audioCodecs() []string {
	if len(o.codecs) == 0 {
		return []string{"pcmu"}
	}
	return o.codecs
}

func startPhone(t *testing.T, o phone) *baresip {
	t.Helper()
	user, voice, outbound, transport := o.user, o.voice, o.outbound, o.transport
	domain, registration := phoneHost, "regint=0"
	switch {
	case o.open:
		domain, registration = o.domain, "regint=60"
	case o.password != "":
		domain, registration = o.domain, fmt.Sprintf("regint=60;auth_user=%s;auth_pass=%s", user, o.password)
	}
	video, answer := "", "manual"
	if o.video {
		video = "module vp8.so\nmodule fakevideo.so\nvideo_source fakevideo\nvideo_display fakevideo"
	}
	if o.early {
		answer = "early"
	}
	first := freePorts(t, 4+rtpPorts)
	// It listens for TLS on the port after the one for SIP.
	p := &baresip{user: user, dir: t.TempDir(), sip: first, rtp: [2]int{first + 4, first + 3 + rtpPorts}, events: make(chan phoneEvent, 256)}
	control := net.JoinHostPort(phoneHost, strconv.Itoa(first+2))

	speech := filepath.Join(p.dir, "speech.wav")
	// Its RTP ends with the file.
	writeWAV(t, speech, repeated(voice, 2*time.Minute))
	writeFile(t, filepath.Join(p.dir, "config"), fmt.Sprintf(`
sip_listen %[1]s:%[2]d
net_interface %[1]s
rtp_ports %[3]d-%[4]d
audio_source aufile,%[5]s
audio_player none,none
audio_alert none,none
ausrc_srate 8000
ausrc_channels 1
call_local_timeout 60
call_max_calls 4
statmode_default off
snd_path %[6]s
module_path %[7]s
module g711.so
module g722.so
module aufile.so
module sndfile.so
%[9]s
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %[8]s
`, phoneHost, p.sip, p.rtp[0], p.rtp[1], speech, p.dir, baresipModules, control, video))
	account := fmt.Sprintf("<sip:%s@%s;transport=%s>;%s;answermode=%s;audio_codecs=%s", user, domain, transport, registration, answer, strings.Join(o.audioCodecs(), ","))
	if outbound != "" {
		account += fmt.Sprintf(`;outbound="sip:%s;transport=%s"`, outbound, transport)
	}
	writeFile(t, filepath.Join(p.dir, "accounts"), account+"\n")
	writeFile(t, filepath.Join(p.dir, "contacts"), "")

	p.process = startIn(o.space, t, user+"'s "+cmp.Or(o.name, "phone"), p.dir, "baresip", "-f", p.dir, "-s")
	p.says("baresip is ready")
	conn, err := o.space.dial(control)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	p.control = conn
	t.Cleanup(func() { conn.Close() })
	go p.listen()
	return p
}

// listen takes events from the control connection until it ends.
func (p *baresip) listen() {
	defer close(p.events)
	r := bufio.NewReader(p.control)
	for {
		length, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(length, ":"), 10, 20)
		if err != nil {
			return
		}
		body := make([]byte, n+1) // and the comma
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var e phoneEvent
		if json.Unmarshal(body[:n], &e) == nil && e.Type != "" {
			select {
			case p.events <- e:
			case <-p.done:
				return
			}
		}
	}
}

// tell gives a command.
func (p *baresip) tell(command, params string) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(p.control, "%d:%s,", len(body), body); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, command, err)
	}
}

// await waits for an event and passes over others. A call that ends while another
// event is awaited will not bring it any more.
func (p *baresip) await(event string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-p.events:
			switch {
			case !ok:
				p.t.Fatalf("%s ended before %s", p.name, event)
			case e.Type == event:
				return
			case e.Type == closed:
				p.t.Fatalf("%s: the call ended (%s) before %s", p.name, e.Param, event)
			}
		case <-deadline:
			p.t.Fatalf("%s: no %s in %v", p.name, event, patience)
		}
	}
}

// awaitRegistered waits until a registrar has taken the phone. That may be so before
// anybody listens to events.
func (p *baresip) awaitRegistered() {
	p.t.Helper()
	p.says(" 200 OK (sipward) [")
}

// hears waits for one of the events, and returns it.
func (p *baresip) hears(events ...string) phoneEvent {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				p.t.Fatalf("%s ended before %v", p.name, events)
			}
			if slices.Contains(events, e.Type) {
				return e
			}
		case <-deadline:
			p.t.Fatalf("%s: none of %v in %v", p.name, events, patience)
		}
	}
}

func (p *baresip) signals() int { return p.sip }
func (p *baresip) media() int   { return p.rtp[0] }

// quit ends the phone, and with it its recording.
func (p *baresip) quit() {
	p.t.Helper()
	p.tell("quit", "")
	p.wait(patience)
}

// heard is what the phone decoded in its one call. Only after quit is it complete.
func (p *baresip) heard() []int16 {
	p.t.Helper()
	calls := p.recordings()
	if len(calls) != 1 {
		p.t.Errorf("%s made %d recordings, want 1", p.name, len(calls))
		return nil
	}
	return calls[0]
}

// recordings are what the phone decoded, call by call.
func (p *baresip) recordings() [][]int16 {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "dump-*-dec.wav")) // named by the time
	if err != nil {
		p.t.Error(err)
	}
	var out [][]int16
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			p.t.Error(err)
			continue
		}
		pcm, err := audio.ReadWAV(f)
		f.Close()
		if err != nil {
			p.t.Errorf("what %s heard: %v", p.name, err)
		}
		out = append(out, pcm)
	}
	return out
}

// repeated is pcm over and over, for as long as d.
func repeated(pcm []int16, d time.Duration) []int16 {
	out := make([]int16, int(d.Seconds()*audio.Rate))
	for n := 0; n < len(out); {
		n += copy(out[n:], pcm)
	}
	return out
}

func writeWAV(t *testing.T, path string, pcm []int16) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := audio.WriteWAV(f, pcm); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
