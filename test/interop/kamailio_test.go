//go:build interop && linux

package interop

import (
	_ "embed" // the configuration
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/kamailio.cfg
var kamailioConfig string

// pbx is the domain of the accounts at Kamailio.
const pbx = "pbx.example"

// kamailio is a registrar and proxy of others, at which the phones have accounts.
type kamailio struct {
	*process
	host string
	port int
}

// startKamailio starts a Kamailio at a host. With an address, the media go through
// the rtpengine there.
func startKamailio(t *testing.T, host, rtpengine string) *kamailio {
	t.Helper()
	return startKamailioIn(nil, t, host, freePorts(t, 1), rtpengine)
}

func startKamailioIn(in *space, t *testing.T, host string, port int, rtpengine string) *kamailio {
	t.Helper()
	dir := t.TempDir()
	k := &kamailio{host: host, port: port}
	config := filepath.Join(dir, "kamailio.cfg")
	writeFile(t, config, kamailioConfig)
	args := []string{"-f", config, "-DD", "-E", "-m", "32", "-M", "4", "-Y", dir, "-w", dir, "-l", fmt.Sprintf("udp:%s:%d", host, k.port)}
	if rtpengine != "" {
		args = append(args, "-A", fmt.Sprintf("RTPENGINE=\"udp:%s\"", rtpengine))
	}
	// Killed, it would leave its children behind.
	words := in.command("kamailio", args...)
	k.process = startEnding(t, syscall.SIGTERM, "Kamailio", dir, words[0], words[1:]...)
	awaitSIP(in, t, k.process, host, k.port)
	return k
}

// startRTPEngine starts a relay for media at a host, and returns the address where
// it is told what to relay.
func startRTPEngine(t *testing.T, host string) string {
	t.Helper()
	first := freePorts(t, 2+mediaPorts)
	control := fmt.Sprintf("%s:%d", host, first)
	p := start(t, "rtpengine", t.TempDir(), "rtpengine", "--foreground", "--log-stderr", "--table=-1", "--num-threads=2",
		"--interface="+host, "--listen-ng="+control, fmt.Sprintf("--port-min=%d", first+2), fmt.Sprintf("--port-max=%d", first+1+mediaPorts))
	p.says("Startup complete")
	return control
}

// awaitSIP waits until somebody answers OPTIONS, whatever the answer is.
func awaitSIP(in *space, t *testing.T, p *process, host string, port int) {
	t.Helper()
	var conn net.Conn
	if err := in.inside(func() (err error) {
		conn, err = net.Dial("udp4", net.JoinHostPort(host, strconv.Itoa(port)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	until(t, p.name+" answers", 50*time.Millisecond, func() error {
		select {
		case <-p.done:
			t.Fatalf("%s ended: %v", p.name, p.err)
		default:
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		from := conn.LocalAddr()
		if _, err := fmt.Fprintf(conn, "OPTIONS sip:%[1]s:%[2]d SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bKready;rport\r\nMax-Forwards: 1\r\n"+
			"From: <sip:test@%[3]s>;tag=1\r\nTo: <sip:%[1]s:%[2]d>\r\nCall-ID: ready@%[3]s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", host, port, from); err != nil {
			return err
		}
		b := make([]byte, 2048)
		n, err := conn.Read(b)
		if err == nil && !strings.HasPrefix(string(b[:n]), "SIP/2.0 ") {
			err = errors.New("not SIP")
		}
		return err
	})
}
