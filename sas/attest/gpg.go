package attest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// GnuPGOptions say where GnuPG is and what it may take. All may be left out.
type GnuPGOptions struct {
	Program string        // the program; "": gpg, from $PATH
	HomeDir string        // the folder of its keys; "": $GNUPGHOME or ~/.gnupg
	Timeout time.Duration // that a signature, or a check, waits for it; 0: 2 s
	Refresh time.Duration // age at which what is known of the keyring is read again beside the calls; 0: 30 s
	MaxAge  time.Duration // age at which a check waits for that; 0: 5 min
}

// Bounds of what gpg may write.
const (
	maxListing   = 64 << 20
	maxExport    = 64 << 20
	maxComplaint = 4 << 10
)

// afterKill is how long the output of a killed program is waited for: it may have
// started others that hold it open.
const afterKill = 200 * time.Millisecond

// gpg runs the program.
type gpg struct{ program, home string }

func (o GnuPGOptions) gpg() gpg {
	if o.Program == "" {
		o.Program = "gpg"
	}
	return gpg{o.Program, o.HomeDir}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// run gives what gpg writes, at most limit octets. It never asks anybody, and is
// killed when ctx is done.
func (g gpg) run(ctx context.Context, stdin []byte, limit int, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := []string{"--batch", "--no-tty"}
	if g.home != "" {
		all = append(all, "--homedir", g.home)
	}
	cmd := exec.CommandContext(ctx, g.program, append(all, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = afterKill
	stdout, stderr := &limitedBuffer{limit: limit, over: cancel}, &limitedBuffer{limit: maxComplaint}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	switch {
	case err == nil && !stdout.exceeded:
		return stdout.Bytes(), nil
	case stdout.exceeded:
		return nil, fmt.Errorf("%s writes more than %d octets", g.program, limit)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no program %s; install GnuPG (Debian package gnupg)", g.program)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s has not answered in time", g.program)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	if line := lastLine(stderr.String()); line != "" {
		return nil, fmt.Errorf("%s: %s", g.program, line)
	}
	return nil, fmt.Errorf("%s: %w", g.program, err)
}

// lastLine is the last line that is not empty, without control characters.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return clip(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.TrimPrefix(s, "gpg: ")))
}

// limitedBuffer keeps what fits, and drops the rest.
type limitedBuffer struct {
	bytes.Buffer
	limit    int
	over     func() // called when more comes; may be nil
	exceeded bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.limit-b.Len())
	b.Buffer.Write(p[:n])
	if n < len(p) {
		b.exceeded = true
		if b.over != nil {
			b.over()
		}
	}
	return len(p), nil
}
