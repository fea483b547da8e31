package calls

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/policy"
)

// Whoever changes the exchange on the way ends the call and hears nothing.
func TestTamperedExchangeEndsTheCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(msg string) string
		alice  string // what alice sees in the end
		bob    string // what bob sees in the end, "" for nothing
	}{
		"dh-init of a wrong form": {func(m string) string { return strings.Replace(m, "a=dh-init:1 ", "a=dh-init:1  ", 1) }, "refused 488", ""},
		"dh-init twice": {func(m string) string {
			return strings.Replace(m, "a=dh-init:", "a=dh-init:1 x25519=AA AB\r\na=dh-init:", 1)
		}, "refused 488", ""},
		"commitment replaced": {func(m string) string {
			return strings.Replace(m, value(m, "dh-init"), flipCommit(value(m, "dh-init")), 1)
		}, "bye", "bye"},
		"dh-resp of a wrong form": {func(m string) string { return strings.Replace(m, "a=dh-resp:1", "a=dh-resp:1 1", 1) }, "refused 488", "bye"},
		"share replaced":          {func(m string) string { return flip(m, "dh-resp") }, "bye", "bye"},
		"suite not offered": {func(m string) string {
			return strings.Replace(m, "a=dh-resp:1 x25519 AEAD_AES_256_GCM", "a=dh-resp:1 x25519 NULL_HMAC_SHA1_80", 1)
		}, "refused 488", "bye"},
		"suite weakened":  {func(m string) string { return strings.Replace(m, "AEAD_AES_256_GCM,", "", 1) }, "bye", "bye"},
		"dh-fin replaced": {func(m string) string { return flip(m, "dh-fin") }, "bye", "bye"},
		"signature put in": {func(m string) string {
			return strings.Replace(m, "a=dh-resp:", "a=dh-sig:future key sip:mallory@b.example AAAA\r\na=dh-resp:", 1)
		}, "bye", "bye"},
		"signature put into ACK": {func(m string) string {
			return strings.Replace(m, "a=dh-fin:", "a=dh-sig:future key sip:mallory@b.example AAAA\r\na=dh-fin:", 1)
		}, "bye", "bye"},
		"dh-resp removed": {func(m string) string { return removeLine(m, "a=dh-resp:") }, "refused 488", "bye"},
		"dh-init removed": {func(m string) string { return removeLine(m, "a=dh-init:") }, "refused 488", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				changed := 0
				w.tamper(func(m string) string {
					out := c.change(m)
					if out != m {
						changed++
					}
					return out
				})
				w.alice.call("sip:bob@b.example")
				go func() {
					for range 300 {
						w.bob.say(1, 0, 0xB2)
						w.alice.say(1, 0, 0xA1)
					}
				}()
				w.alice.await(c.alice)
				if c.bob != "" {
					w.bob.await(c.bob)
				}
				if changed == 0 {
					t.Error("nothing was changed on the way")
				}
				time.Sleep(time.Minute)
				if *clear != 0 || len(w.alice.heard) != 0 || len(w.bob.heard) != 0 {
					t.Errorf("%d packets in clear, alice heard %d, bob %d", *clear, len(w.alice.heard), len(w.bob.heard))
				}
				w.none()
			})
		})
	}
}

func flipCommit(v string) string {
	i := strings.IndexByte(v, '=') + 5
	if i < 5 || i >= len(v) {
		return v
	}
	c := "A"
	if v[i] == 'A' {
		c = "B"
	}
	return v[:i] + c + v[i+1:]
}

func removeLine(msg, prefix string) string {
	var out []string
	for _, l := range strings.Split(msg, "\r\n") {
		if !strings.HasPrefix(l, prefix) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\r\n")
}

// A server on the way drops the bodies of ACKs: the callee's side sends and
// plays nothing and hangs up after 2 s; under prefer the next call on this
// path goes on without an exchange, and says so.
func TestAckBodyStripped(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				w.tamper(func(m string) string {
					if !strings.HasPrefix(m, "ACK ") {
						return m
					}
					head, _, _ := strings.Cut(m, "\r\n\r\n")
					return removeLine(removeLine(head, "Content-Type:"), "Content-Disposition:") + "\r\n\r\n"
				})
				w.alice.call("sip:bob@b.example")
				w.alice.await("answered")
				start := time.Now()
				go w.bob.say(20, 0, 0xB2)
				w.bob.await("bye")
				w.alice.await("bye")
				if took := time.Since(start); took < 1900*time.Millisecond || took > 2500*time.Millisecond {
					t.Errorf("BYE after %v", took)
				}
				if *clear != 0 {
					t.Errorf("%d packets in clear", *clear)
				}
				w.none()
				w.alice.call("sip:bob@b.example")
				if mode == policy.Require {
					w.alice.await("answered")
					w.bob.await("bye")
					return
				}
				w.alice.await("answered")
				w.bob.await("acked")
				time.Sleep(10 * time.Second)
				va, vb := w.views()
				if va.Protection != "none" || vb.Protection != "none" || !strings.Contains(vb.Reason, "removed the key exchange") {
					t.Errorf("second call: %+v %+v", va, vb)
				}
			})
		})
	}
}
