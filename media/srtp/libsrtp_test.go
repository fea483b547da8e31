package srtp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// requireLibsrtp set in the environment makes a missing library a failure.
const requireLibsrtp = "SIPWARD_REQUIRE_LIBSRTP"

// libsrtp is a process with one sender and one receiver of libsrtp2.
type libsrtp struct {
	in  io.Writer
	out *bufio.Scanner
}

// buildLibsrtp compiles the program in testdata. The test is skipped where the
// library's header or a C compiler is missing, and none is required.
func buildLibsrtp(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "libsrtp")
	out, err := exec.Command("cc", "-O1", "-o", program, "testdata/libsrtp.c", "-lsrtp2").CombinedOutput()
	if err == nil {
		return program
	}
	if os.Getenv(requireLibsrtp) != "" {
		t.Fatalf("libsrtp2 is required (Debian package libsrtp2-dev): %v\n%s", err, out)
	}
	t.Skip("needs a C compiler and libsrtp2 (Debian package libsrtp2-dev)")
	return ""
}

func startLibsrtp(t *testing.T, program string, suite Suite, key, salt []byte) *libsrtp {
	t.Helper()
	cmd := exec.Command(program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	l := &libsrtp{in, bufio.NewScanner(out)}
	fmt.Fprintf(in, "%s %x%x\n", suite.Name, key, salt)
	if !l.out.Scan() || l.out.Text() != "ready" {
		t.Fatalf("%s: libsrtp2 does not start: %q", suite.Name, l.out.Text())
	}
	return l
}

// ask hands over a packet; the error is libsrtp's status.
func (l *libsrtp) ask(t *testing.T, what string, pkt []byte) ([]byte, error) {
	t.Helper()
	if _, err := fmt.Fprintf(l.in, "%s %x\n", what, pkt); err != nil || !l.out.Scan() {
		t.Fatalf("libsrtp2 has ended: %v", err)
	}
	if s, failed := strings.CutPrefix(l.out.Text(), "!"); failed {
		return nil, fmt.Errorf("libsrtp2 says %s", s)
	}
	b, err := hex.DecodeString(l.out.Text())
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

// libsrtp2 is what most phones have. Packets are the same to the octet, each
// side opens the other's, and changed and repeated ones are refused by both.
func TestSameAsLibsrtp(t *testing.T) {
	t.Parallel()
	program := buildLibsrtp(t)
	for _, suite := range Suites() {
		if _, ok := pionProfiles[suite.Name]; !ok {
			continue // ARIA and ChaCha20 are in neither library
		}
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(6, uint64(suite.KeyLen)))
			key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
			l := startLibsrtp(t, program, suite, key, salt)
			send, recv := newTestContext(t, suite, key, salt), newTestContext(t, suite, key, salt)
			seq := uint16(30000)
			for i := range 2000 {
				seq += uint16(1 + rng.IntN(100))
				pkt, _ := randomRTP(rng, seq, 7)
				sealed, err := send.Protect(nil, pkt)
				if err != nil {
					t.Fatal(err)
				}
				if want, err := l.ask(t, "s", pkt); err != nil || !bytes.Equal(sealed, want) {
					t.Fatalf("packet %d: %x, libsrtp2 %x (%v)", i, sealed, want, err)
				}
				if rng.IntN(4) == 0 {
					forged := bytes.Clone(sealed)
					forged[rng.IntN(len(forged))] ^= 1 << rng.IntN(8)
					ours, errA := recv.Unprotect(nil, forged)
					theirs, errB := l.ask(t, "o", forged)
					if errA == nil || errB == nil {
						t.Fatalf("packet %d, changed: %x (%v), libsrtp2 %x (%v)", i, ours, errA, theirs, errB)
					}
				}
				for range 2 { // the second is a repetition
					ours, errA := recv.Unprotect(nil, sealed)
					theirs, errB := l.ask(t, "o", sealed)
					if (errA == nil) != (errB == nil) || !bytes.Equal(ours, theirs) {
						t.Fatalf("packet %d: %x (%v), libsrtp2 %x (%v)", i, ours, errA, theirs, errB)
					}
				}
				report := randomRTCP(rng, 7)
				if sealed, err = send.ProtectRTCP(nil, report); err != nil {
					t.Fatal(err)
				}
				if want, err := l.ask(t, "S", report); err != nil || !bytes.Equal(sealed, want) {
					t.Fatalf("report %d: %x, libsrtp2 %x (%v)", i, sealed, want, err)
				}
				if got, err := l.ask(t, "O", sealed); err != nil || !bytes.Equal(got, report) {
					t.Fatalf("report %d: libsrtp2 opens %x (%v), want %x", i, got, err, report)
				}
			}
		})
	}
}
