//go:build interop && linux

package interop

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

// softphone is what the tests want from a phone, whichever program it is: it is told
// what to do by the commands of baresip, and reports by its events.
type softphone interface {
	fmt.Stringer
	awaitRegistered()
	tell(command, params string)
	hears(events ...string) phoneEvent
	quit()
	recordings() [][]int16
	signals() int // port of its SIP over UDP
	media() int   // lowest port of its RTP, of rtpPorts
}

// linphone is linphonec: a softphone on a terminal, with files in place of
// loudspeaker and microphone.
type linphone struct {
	*process
	dir   string
	input io.WriteCloser
	read  int // how much of the output was taken as events
	calls int // that have ended
	sip   int // port for SIP over UDP
	rtp   int // lowest port of its RTP
}

// linphoneSays finds events in what linphonec prints.
var linphoneSays = []struct {
	event string
	line  *regexp.Regexp
}{
	{incoming, regexp.MustCompile(`^Receiving new incoming call from (.*), assigned id`)},
	{ringing, regexp.MustCompile(`^Call \d+ to .* (ringing)\.`)},
	{established, regexp.MustCompile(`^Media streams established with (.*) for call`)},
	{closed, regexp.MustCompile(`^Call \d+ with .* (?:ended|error)(?: \((.*)\))?`)},
	{held, regexp.MustCompile(`^Call \d+ with (.*) is now paused`)},
	{digit, regexp.MustCompile(`^Receiving tone (.) from `)},
}

// linphoneCodecs are those that linphone would enable by itself, and some more. Its command
// codec refers to them by their place in this list.
var linphoneCodecs = []string{"opus/48000/2", "speex/16000/1", "speex/8000/1", "PCMU/8000/1", "PCMA/8000/1", "GSM/8000/1", "G722/8000/1", "G729/8000/1"}

// startLinphone starts a phone that registers if it has a password, and says its voice for two minutes,
// over and over.
func startLinphone(t *testing.T, o phone) *linphone {
	t.Helper()
	first := freePorts(t, 2+rtpPorts)
	p := &linphone{dir: t.TempDir(), sip: first, rtp: first + 2}
	for _, dir := range []string{".config/linphone", ".local/share/linphone"} { // it makes none itself
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var codecs strings.Builder
	for i, codec := range linphoneCodecs {
		parts := strings.Split(codec, "/")
		enabled := 0
		if slices.Contains(o.audioCodecs(), strings.ToLower(parts[0])) {
			enabled = 1
		}
		fmt.Fprintf(&codecs, "[audio_codec_%d]\nmime=%s\nrate=%s\nchannels=%s\nenabled=%d\n", i, parts[0], parts[1], parts[2], enabled)
	}
	registers := 0
	if o.password != "" {
		registers = 1
	}
	speech := filepath.Join(p.dir, "speech.wav")
	writeWAV(t, speech, repeated(o.voice, 2*time.Minute))
	writeFile(t, filepath.Join(p.dir, "linphonerc"), fmt.Sprintf(`
[sip]
sip_port=%[1]d
sip_tcp_port=0
sip_tls_port=0
bind_address=%[2]s
use_ipv6=0
guess_hostname=0
media_encryption=none
inc_timeout=60
100rel_support_level=1
default_proxy=0
[proxy_0]
reg_proxy=<sip:%[3]s;transport=udp>
reg_route=<sip:%[3]s;transport=udp;lr>
reg_identity=sip:%[4]s@%[5]s
reg_expires=60
reg_sendregister=%[10]d
[auth_info_0]
username=%[4]s
passwd=%[6]s
[rtp]
bind_address=%[2]s
audio_rtp_port=%[7]d
video_rtp_port=%[9]d
audio_adaptive_jitt_comp_enabled=0
audio_jitt_comp=150
[net]
dns_srv_enabled=0
[sound]
echocancellation=0
local_ring=
remote_ring=
%[8]s`, first, phoneHost, o.outbound, o.user, o.domain, o.password, first+2, codecs.String(), first+2+rtpPorts/2, registers))

	name := o.user + "'s " + cmp.Or(o.name, "phone")
	mode := "-S"
	if o.video {
		mode = "-C"
	}
	// It writes lines at once to a terminal only.
	words := o.space.command("stdbuf", "-oL", "linphonec", mode, "-S", "-d", "6", "-l", p.log(), "-c", filepath.Join(p.dir, "linphonerc"))
	p.process = startTold(t, name, p.dir, &p.input, words[0], words[1:]...)
	p.says("linphonec> ")
	p.command("soundcard use files")
	p.command("play " + speech)
	p.record()
	return p
}

func (p *linphone) signals() int { return p.sip }
func (p *linphone) media() int   { return p.rtp }

// codec enables or disables a codec for what it offers from then on.
func (p *linphone) codec(verb, name string) {
	p.t.Helper()
	i := slices.IndexFunc(linphoneCodecs, func(c string) bool { return strings.HasPrefix(c, name+"/") })
	p.command(fmt.Sprintf("codec %s %d", verb, i))
}

// command gives linphonec a command and waits until it has taken it.
func (p *linphone) command(line string) {
	p.t.Helper()
	n := strings.Count(p.out.String(), line+"\n")
	if _, err := fmt.Fprintln(p.input, line); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, line, err)
	}
	p.shows("the command "+line, func(out string) bool { return strings.Count(out, line+"\n") > n })
}

// record has the next call recorded. It may not be said while a call comes in.
func (p *linphone) record() {
	p.t.Helper()
	p.command("record " + p.recording(p.calls))
}

func (p *linphone) recording(call int) string {
	return filepath.Join(p.dir, fmt.Sprintf("heard-%d.wav", call))
}

func (p *linphone) log() string { return filepath.Join(p.dir, "log") }

func (p *linphone) awaitRegistered() {
	p.t.Helper()
	until(p.t, p.name+" registers", 50*time.Millisecond, func() error { // of which the terminal shows nothing
		log, err := os.ReadFile(p.log())
		if err == nil && !bytes.Contains(log, []byte("to [LinphoneRegistrationOk]")) {
			err = errors.New("the log has nothing of it")
		}
		return err
	})
}

func (p *linphone) tell(command, params string) {
	p.t.Helper()
	words, ok := map[string]string{"dial": "call " + params, "accept": "answer", "hangup": "terminate", "hold": "pause", "resume": "resume",
		"transfer": "transfer " + params, "attend": "transfer 1 --to-call 2", "sndcode": params}[command]
	if !ok {
		p.t.Fatalf("%s does not know how to %s", p.name, command)
	}
	p.command(words)
}

func (p *linphone) hears(events ...string) (heard phoneEvent) {
	p.t.Helper()
	p.shows(fmt.Sprint(events), func(out string) bool {
		for {
			line, _, whole := strings.Cut(out[p.read:], "\n")
			if !whole {
				return false
			}
			p.read += len(line) + 1
			if i := strings.LastIndex(line, "linphonec> "); i >= 0 { // not always behind a line's end
				line = line[i+len("linphonec> "):]
			}
			for _, e := range linphoneSays {
				if m := e.line.FindStringSubmatch(line); m != nil && slices.Contains(events, e.event) {
					heard = phoneEvent{e.event, m[1]}
					return true
				}
			}
		}
	})
	if heard.Type == closed {
		p.calls++
		p.record()
	}
	return heard
}

func (p *linphone) quit() {
	p.t.Helper()
	fmt.Fprintln(p.input, "quit")
	p.wait(patience)
}

// recordings are what the phone decoded, call by call.
func (p *linphone) recordings() [][]int16 {
	p.t.Helper()
	var out [][]int16
	for i := range p.calls {
		pcm, err := p.readRecording(i)
		if errors.Is(err, os.ErrNotExist) {
			continue // it rang and was not answered
		}
		if err != nil {
			p.t.Errorf("what %s heard: %v", p.name, err)
		}
		out = append(out, pcm)
	}
	return out
}

// readRecording reads the file of a call. linphonec counts the 44 octets of the head
// as sound.
func (p *linphone) readRecording(call int) ([]int16, error) {
	file, err := os.ReadFile(p.recording(call))
	if err != nil {
		return nil, err
	}
	const head = 44
	if len(file) < head {
		return nil, io.ErrUnexpectedEOF
	}
	binary.LittleEndian.PutUint32(file[head-4:], uint32(len(file)-head))
	return audio.ReadWAV(bytes.NewReader(file))
}
