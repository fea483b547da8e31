package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/test/bench/plan"
)

// ErrNoRTPEngine says what to install.
var ErrNoRTPEngine = errors.New("rtpengine is not installed (Debian package rtpengine-daemon)")

// StartRTPEngine runs rtpengine in user space with one worker thread at the
// address at, and sets up the calls: RTP/AVP on one side, RTP/SAVP on the
// other. The error is ErrNoRTPEngine where the program is missing.
func StartRTPEngine(ctx context.Context, cpu int, at netip.Addr, calls int, suite string, local [2]netip.AddrPort) (*Process, *plan.Plan, error) {
	program, err := exec.LookPath("rtpengine")
	if err != nil {
		return nil, nil, ErrNoRTPEngine
	}
	control := netip.AddrPortFrom(at, 2223)
	cmd := exec.CommandContext(ctx, program, "--config-file=none", "--foreground", "--log-stderr", "--log-level=3",
		"--table=-1", "--num-threads=1", "--interface="+at.String(), "--listen-ng="+control.String(),
		"--port-min=16384", "--port-max=65000", "--timeout=3600", "--silent-timeout=3600", "--delete-delay=0")
	process, err := Launch(cmd, cpu)
	if err != nil {
		return nil, nil, err
	}
	p := &plan.Plan{PlainLocal: local[0], SecureLocal: local[1]}
	if err := offerCalls(control, p, calls, suite); err != nil {
		process.Close()
		return nil, nil, fmt.Errorf("relay: rtpengine: %w %s", err, strings.TrimSpace(process.Said()))
	}
	return process, p, nil
}

func offerCalls(control netip.AddrPort, p *plan.Plan, calls int, suite string) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(control))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &controller{conn: conn, prefix: strconv.FormatInt(time.Now().UnixNano(), 36)}
	if err := c.awake(10 * time.Second); err != nil {
		return err
	}
	for i := range calls {
		s, err := c.call(fmt.Sprintf("%s-%d", c.prefix, i), p, suite)
		if err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
		p.Sessions = append(p.Sessions, s)
	}
	return nil
}

// controller speaks the ng protocol: a cookie, a space and a bencoded
// dictionary per datagram, both ways. The cookie makes repetition harmless.
type controller struct {
	conn   *net.UDPConn
	prefix string
	count  int
	buf    [65536]byte
}

var errSilent = errors.New("no answer on the control port")

// awake waits until the program answers.
func (c *controller) awake(limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		_, err := c.ask(dict{"command": "ping"}, 1, 100*time.Millisecond)
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond) // a refused datagram comes back at once
	}
}

// ask sends a command and waits for its answer.
func (c *controller) ask(command dict, tries int, patience time.Duration) (dict, error) {
	c.count++
	cookie := fmt.Sprintf("%s.%d ", c.prefix, c.count)
	datagram := encode([]byte(cookie), command)
	for range tries {
		if _, err := c.conn.Write(datagram); err != nil {
			return nil, err
		}
		c.conn.SetReadDeadline(time.Now().Add(patience))
		for {
			n, err := c.conn.Read(c.buf[:])
			if err != nil {
				break
			}
			text, ok := strings.CutPrefix(string(c.buf[:n]), cookie)
			if !ok {
				continue // to an earlier try of another command
			}
			v, _, err := decode([]byte(text))
			if err != nil {
				return nil, err
			}
			answer, _ := v.(dict)
			if result := answer["result"]; result != "ok" && result != "pong" {
				return nil, fmt.Errorf("it says %v: %v", result, answer["error-reason"])
			}
			return answer, nil
		}
	}
	return nil, errSilent
}

// call sets up one call: the offer comes from the plain side.
func (c *controller) call(id string, p *plan.Plan, suite string) (plan.Session, error) {
	s := plan.Session{Suite: suite}
	with := dict{
		"call-id": id, "from-tag": "plain", "ICE": "remove", "rtcp-mux": []any{"demux"},
		"replace": []any{"origin", "session-connection"},
	}
	offer := dict{"command": "offer", "transport-protocol": "RTP/SAVP", "sdp": describe(p.PlainLocal, "RTP/AVP")}
	secure, err := c.exchange(offer, with)
	if err != nil {
		return s, err
	}
	line, ok := secure.crypto[suite]
	if !ok {
		return s, fmt.Errorf("it does not offer %s", suite)
	}
	if s.ToProxy, err = plan.NewKey(suite); err != nil {
		return s, err
	}
	answer := dict{"command": "answer", "to-tag": "secure",
		"sdp": describe(p.SecureLocal, "RTP/SAVP", fmt.Sprintf("a=crypto:%s %s inline:%s", line.tag, suite, s.ToProxy))}
	plain, err := c.exchange(answer, with)
	if err != nil {
		return s, err
	}
	s.Secure, s.Plain, s.FromProxy = secure.at, plain.at, line.key
	return s, nil
}

// exchange sends a command about a call and reads the SDP of its answer.
func (c *controller) exchange(command, with dict) (description, error) {
	for k, v := range with {
		command[k] = v
	}
	answer, err := c.ask(command, 3, 2*time.Second)
	if err != nil {
		return description{}, err
	}
	sdp, _ := answer["sdp"].(string)
	return read(sdp)
}
