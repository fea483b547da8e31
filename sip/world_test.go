package sip

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

var (
	aliceAddr = netip.MustParseAddrPort("192.0.2.1:5060")
	bobAddr   = netip.MustParseAddrPort("192.0.2.2:5060")
	carolAddr = netip.MustParseAddrPort("192.0.2.3:5060")
)

var quietLog = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is a network in a synctest bubble, on which stacks and scripted peers
// stand.
type world struct {
	*testing.T
	net   *memnet.Network
	start time.Time

	mu     sync.Mutex
	traces []trace
	stacks []*Stack
}

// trace is one datagram on the wire.
type trace struct {
	at       time.Duration
	from, to netip.AddrPort
	what     string // "INVITE" or "200 INVITE"
	wire     string
}

func inWorld(t *testing.T, o memnet.Options, f func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: memnet.New(o), start: time.Now()}
		w.net.Tap(func(d memnet.Datagram) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.traces = append(w.traces, trace{d.Time.Sub(w.start), d.From, d.To, what(d.Payload), string(d.Payload)})
		})
		defer func() { // the bubble ends only if no goroutine is left
			for _, s := range w.stacks {
				s.Close()
			}
			w.net.Close()
		}()
		f(w)
	})
}

// what names a message: "INVITE" or "200 INVITE".
func what(b []byte) string {
	m, _ := Parse(b)
	switch {
	case m == nil:
		return "?"
	case m.IsRequest():
		return m.Method
	}
	_, method, _ := m.CSeq()
	return fmt.Sprint(m.Status, " ", method)
}

// sent lists when a message left that sender.
func (w *world) sent(from netip.AddrPort, name string) (at []time.Duration) {
	for _, tr := range w.wires(from, name) {
		at = append(at, tr.at)
	}
	return at
}

func (w *world) wires(from netip.AddrPort, name string) (out []trace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tr := range w.traces {
		if tr.from == from && (tr.what == name || name == "") {
			out = append(out, tr)
		}
	}
	return out
}

// names lists what left a sender, in order.
func (w *world) names(from netip.AddrPort) (out []string) {
	for _, tr := range w.wires(from, "") {
		out = append(out, tr.what)
	}
	return out
}

func (w *world) stack(at netip.AddrPort, h Handler) (*Stack, *Listener) {
	w.Helper()
	conn, err := w.net.ListenPacket(at)
	if err != nil {
		w.Fatal(err)
	}
	s := NewStack(Options{Handler: h, UserAgent: "test", Log: quietLog})
	l, err := s.Listen(ListenerOptions{Name: at.String(), Packet: conn})
	if err != nil {
		w.Fatal(err)
	}
	w.stacks = append(w.stacks, s)
	return s, l
}

// lose drops the first n messages of that name.
func lose(n int, name string) memnet.Rule {
	return memnet.DropFirst(n, func(_, _ netip.AddrPort, b []byte) bool { return what(b) == name })
}

// seconds makes the list of moments that timers are compared with.
func seconds(s ...float64) (out []time.Duration) {
	for _, x := range s {
		out = append(out, time.Duration(x*float64(time.Second)))
	}
	return out
}

func (w *world) wantTimes(what string, got, want []time.Duration) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s at %v, want %v", what, got, want)
	}
}

func (w *world) wantDialogs(n int) {
	w.Helper()
	synctest.Wait()
	for _, s := range w.stacks {
		if got := s.Dialogs(); got != n {
			w.Errorf("%d Call-IDs in use, want %d: %q", got, n, s.Remaining())
		}
	}
}

// user is a sip.User that notes what it hears and does what a phone does,
// unless a function says otherwise.
type user struct {
	queue  *Queue
	dialog *Dialog

	mu    sync.Mutex
	heard []string

	answer  func(res *Message)
	request func(tx *ServerTx)
	ack     func(ack *Message, tx *ServerTx)
	refused func(res *Message, err error)
}

func newUser() *user { return &user{queue: &Queue{Log: quietLog}} }

func (u *user) note(format string, args ...any) {
	u.mu.Lock()
	u.heard = append(u.heard, fmt.Sprintf(format, args...))
	u.mu.Unlock()
}

func (u *user) events() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.heard)
}

func (u *user) OnProvisional(res *Message) { u.note("%d", res.Status) }

func (u *user) OnAnswer(res *Message) {
	u.note("answer")
	if u.answer != nil {
		u.answer(res)
		return
	}
	u.dialog.Ack(res, "", nil)
}

func (u *user) OnAnswerRepeated(*Message) { u.note("answer again") }

func (u *user) OnRefused(res *Message, err error) {
	if res != nil {
		u.note("refused %d", res.Status)
	} else {
		u.note("refused: %v", err)
	}
	if u.refused != nil {
		u.refused(res, err)
	}
}

func (u *user) OnRequest(tx *ServerTx) {
	u.note("%s", tx.Request.Method)
	switch {
	case u.request != nil:
		u.request(tx)
	case tx.Request.Method == "BYE":
		tx.Reply(200, "")
		u.dialog.Closed()
	case tx.Request.Method == "INVITE":
		u.dialog.AnswerTo(tx, "", nil)
	default:
		tx.Reply(200, "")
	}
}

func (u *user) OnAck(ack *Message, tx *ServerTx) {
	u.note("ACK")
	if u.ack != nil {
		u.ack(ack, tx)
	}
}

func (u *user) OnCancel()     { u.note("cancelled") }
func (u *user) OnAckTimeout() { u.note("no ACK") }

// do runs f on the queue and waits for it.
func (u *user) do(f func()) {
	done := make(chan struct{})
	u.queue.Post(func() {
		defer close(done)
		f()
	})
	<-done
}

func (w *world) wantHeard(u *user, want ...string) {
	w.Helper()
	synctest.Wait()
	if got := u.events(); !slices.Equal(got, want) {
		w.Errorf("the user heard %q, want %q", got, want)
	}
}

// dial sends an INVITE from a listener.
func (u *user) dial(t testing.TB, s *Stack, l *Listener, to netip.AddrPort) {
	t.Helper()
	uri := URI{Scheme: "sip", User: "bob", Host: to.Addr().String(), Port: int(to.Port())}
	u.do(func() {
		d, err := s.Dial(Dial{Flow: l.Flow(to), URI: uri, From: Address{URI: URI{Scheme: "sip", User: "alice", Host: "example.com"}},
			To: Address{URI: uri}, ContactUser: "alice", ContentType: "application/sdp", Body: []byte("v=0\r\n"), Queue: u.queue, User: u})
		if err != nil {
			t.Error(err)
		}
		u.dialog = d
	})
}

// taking is the handler of a phone that takes one call.
func (u *user) taking(then func()) Handler {
	return func(in *Incoming) {
		if in.Malformed() != nil {
			in.Reply(400, "")
			return
		}
		if in.Method != "INVITE" {
			in.Reply(481, "")
			return
		}
		if d := in.Accept(u.queue, u, "bob"); d != nil {
			u.queue.Post(func() {
				u.dialog = d
				u.note("INVITE")
				if then != nil {
					then()
				}
			})
		}
	}
}

// remote is a scripted peer: it sends what the test says and nothing else.
type remote struct {
	w    *world
	addr netip.AddrPort
	conn net.PacketConn
}

func (w *world) remote(at netip.AddrPort) *remote {
	w.Helper()
	conn, err := w.net.ListenPacket(at)
	if err != nil {
		w.Fatal(err)
	}
	return &remote{w, at, conn}
}

// next returns the next message that is not a repetition of one before it.
func (r *remote) next(name string) *Message {
	r.w.Helper()
	b := make([]byte, MaxMessage)
	for {
		r.conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := r.conn.ReadFrom(b)
		if err != nil {
			r.w.Fatalf("%s did not come: %v", name, err)
		}
		m, err := Parse(b[:n])
		if err != nil {
			r.w.Fatalf("%v in %q", err, b[:n])
		}
		if got := what(b[:n]); got == name {
			return m
		}
	}
}

// none checks that nothing of that name comes any more.
func (r *remote) none(name string, within time.Duration) {
	r.w.Helper()
	b := make([]byte, MaxMessage)
	end := time.Now().Add(within)
	for {
		r.conn.SetReadDeadline(end)
		n, _, err := r.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if got := what(b[:n]); got == name {
			r.w.Errorf("got a %s", got)
			return
		}
	}
}

func (r *remote) send(to netip.AddrPort, m *Message) { r.write(to, string(m.Bytes())) }

func (r *remote) write(to netip.AddrPort, s string) {
	r.w.Helper()
	if _, err := r.conn.WriteTo([]byte(s), net.UDPAddrFromAddrPort(to)); err != nil {
		r.w.Fatal(err)
	}
}

// respond answers a request as the user agent with that tag.
func (r *remote) respond(to netip.AddrPort, req *Message, status int, tag string, fields ...Field) {
	res := NewResponse(req, status, "", tag)
	res.Add("Contact", "<sip:bob@"+r.addr.String()+">")
	res.Fields = append(res.Fields, fields...)
	r.send(to, res)
}

// invite is an INVITE as a phone at r sends it; changes are pairs of a field's
// name and its value, "" takes it out.
func (r *remote) request(method string, changes ...string) *Message {
	m := &Message{Method: method, URI: URI{Scheme: "sip", User: "bob", Host: aliceAddr.Addr().String()}}
	m.Add("Via", "SIP/2.0/UDP "+r.addr.String()+";branch=z9hG4bK-"+strings.ToLower(method)+"1;rport")
	m.Add("Max-Forwards", "70")
	m.Add("From", "<sip:carol@example.com>;tag=carol")
	m.Add("To", "<sip:bob@example.com>")
	m.Add("Call-ID", "call-1")
	m.Add("CSeq", "1 "+method)
	m.Add("Contact", "<sip:carol@"+r.addr.String()+">")
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			m.Remove(changes[i])
		} else {
			m.Set(changes[i], changes[i+1])
		}
	}
	return m
}

func itoa(i int) string { return fmt.Sprint(i) }
