package calls

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// forkAddr is a server outside that forks what it gets.
var forkAddr = netip.MustParseAddrPort("198.51.100.77:5060")

// forker plays that server and the user agents behind it.
type forker struct {
	t      *testing.T
	raw    *raw
	at, to netip.AddrPort // its address, and the sipward's
	invite *sip.Message
	offer  keyexchange.Attrs
	seen   []string // requests other than the INVITE, in order
}

func (w *world) forker() *forker {
	return &forker{t: w.t, raw: w.raw(forkAddr), at: forkAddr, to: outsideA}
}

// take collects what has come.
func (f *forker) take() {
	f.t.Helper()
	for _, m := range f.raw.drain() {
		msg, err := sip.Parse([]byte(m))
		if err != nil {
			f.t.Fatal(err)
		}
		switch msg.Method {
		case "":
		case "INVITE":
			if f.invite == nil || f.invite.CallID() != msg.CallID() {
				f.invite = msg
				f.offer = keyexchange.Attrs{Value: value(m, "dh-init"), Present: true}
			}
		default:
			f.seen = append(f.seen, m)
			if msg.Method == "PRACK" || msg.Method == "BYE" || msg.Method == "CANCEL" {
				f.raw.send(f.to, string(sip.NewResponse(msg, 200, "", msg.To().Tag()).Bytes()))
			}
		}
	}
}

// respond sends a response of the user agent with that tag.
func (f *forker) respond(status int, tag string, rseq int, resp bool) {
	f.t.Helper()
	body := phoneSDP(f.at.Addr(), 4000)
	if resp {
		_, v, err := keyexchange.NewResponder(keyexchange.Config{Groups: []string{keyexchange.GroupX25519}, Suites: []keyexchange.Suite{{Name: "AEAD_AES_256_GCM", KeyLen: 32, SaltLen: 12}}}, f.offer, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		body = strings.Replace(body, "m=audio", "a=dh-resp:"+v+"\r\nm=audio", 1)
	}
	f.describe(status, tag, rseq, []byte(body))
}

// describe is respond with a description of the user agent's own.
func (f *forker) describe(status int, tag string, rseq int, body []byte) {
	f.t.Helper()
	res := sip.NewResponse(f.invite, status, "", tag)
	res.Add("Contact", "<sip:"+tag+"@"+f.at.String()+">")
	if rseq > 0 {
		res.Add("Require", "100rel")
		res.Add("RSeq", itoa(rseq))
	}
	res.SetBody("application/sdp", body)
	f.raw.send(f.to, string(res.Bytes()))
	time.Sleep(100 * time.Millisecond)
	f.take()
}

// of returns the requests of a method to the user agent with that tag.
func (f *forker) of(method, tag string) (out []string) {
	for _, m := range f.seen {
		if strings.HasPrefix(m, method+" ") && (tag == "" || strings.Contains(m, ";tag="+tag)) {
			out = append(out, m)
		}
	}
	return out
}

// Two user agents behind one INVITE: the commitment is opened to the first only,
// whoever answers, and the next call to this address keeps the exchange for its
// 2xx.
func TestForkedEarlyMedia(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode    policy.Mode
		firstRS int    // RSeq of the first's 183, 0: it is not reliable
		answers string // who answers
		resp    bool   // with a dh-resp
		alice   string
		fins    map[string]string // tag: where its dh-fin was
		bye     bool
	}{
		"the first answers":                         {policy.Require, 17, "first", false, "answered", map[string]string{"first": "PRACK"}, false},
		"the second answers":                        {policy.Require, 17, "second", true, "refused 488", map[string]string{"first": "PRACK"}, true},
		"the second answers, under prefer":          {policy.Prefer, 17, "second", true, "refused 488", map[string]string{"first": "PRACK"}, true},
		"a plain phone answers, under prefer":       {policy.Prefer, 17, "second", false, "answered", map[string]string{"first": "PRACK"}, false},
		"a plain phone answers":                     {policy.Require, 17, "second", false, "refused 488", map[string]string{"first": "PRACK"}, true},
		"the first is not reliable, second answers": {policy.Require, 0, "second", false, "answered", map[string]string{"second": "PRACK"}, false},
		"the second answers with another share":     {policy.Prefer, 0, "second", true, "refused 488", map[string]string{"second": "PRACK"}, true},
		"neither is answered before its time":       {policy.Require, 0, "first", true, "refused 488", map[string]string{"second": "PRACK"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: c.mode, routesA: []string{"*@fork.example", "sip:" + forkAddr.String(), "outside"}}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				f := w.forker()
				defer f.raw.conn.Close()
				w.alice.call("sip:bob@fork.example")
				time.Sleep(time.Second)
				f.take()
				if !f.invite.HasToken("Supported", "100rel") {
					t.Fatal("the INVITE does not offer 100rel")
				}
				f.respond(183, "first", c.firstRS, true)
				f.respond(183, "second", 4000, true)
				f.respond(183, "second", 4000, true) // another share, as if repeated: not read
				f.respond(200, c.answers, 0, c.resp)
				w.alice.await(c.alice)
				time.Sleep(time.Second)
				f.take()
				for _, tag := range []string{"first", "second"} {
					fins := ""
					for _, m := range f.seen {
						if strings.Contains(m, ";tag="+tag) && strings.Contains(m, "a=dh-fin:") {
							fins += strings.Fields(m)[0]
						}
					}
					if fins != c.fins[tag] {
						t.Errorf("dh-fin to the %s: %q, want %q", tag, fins, c.fins[tag])
					}
				}
				if n := len(f.of("PRACK", "second")); n != 1 {
					t.Errorf("%d PRACK to the second", n)
				}
				if n := len(f.of("ACK", c.answers)); n != 1 {
					t.Errorf("%d ACK", n)
				}
				if got := len(f.of("BYE", c.answers)) > 0; got != c.bye {
					t.Errorf("BYE: %v, want %v", got, c.bye)
				}
				if c.alice == "answered" {
					if v := w.a.proxy.Calls(); len(v) != 1 || (v[0].Protection == "none") != (c.mode == policy.Prefer) {
						t.Errorf("%+v", v)
					}
				} else if *clear != 0 {
					t.Errorf("%d packets in clear", *clear)
				}
				time.Sleep(time.Minute)
				f.take()
				if c.alice == "answered" && c.mode == policy.Prefer {
					w.alice.hangup()
					w.alice.await("bye answered")
				}
				w.alice.call("sip:bob@fork.example")
				time.Sleep(time.Second)
				f.take()
				if f.invite.HasToken("Supported", "100rel") || !f.invite.HasToken("Supported", "dh-srtp") {
					t.Errorf("the next INVITE says Supported: %q", f.invite.Get("Supported"))
				}
				w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
				time.Sleep(time.Minute)
				f.take()
			})
		})
	}
}
