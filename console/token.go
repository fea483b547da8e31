package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

const (
	minTokenLen = 16
	maxTokenLen = 1024
)

// ReadToken reads the console's token from a file: one line of 16 to 1024
// visible ASCII characters. It refuses a file that everyone on the machine may
// read or that others than its owner may change. Errors never hold the token.
func ReadToken(path string) (string, error) {
	// The file is looked at before it is opened: opening a named pipe waits.
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("console: token file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("console: token file %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("console: token file: %w", err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return "", fmt.Errorf("console: token file: %w", err)
	}
	// Windows has no such mode; Go makes one up there.
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o027 != 0 {
		return "", fmt.Errorf("console: token file %s has mode %03o, open to others on this machine: chmod 600 %s", path, mode, path)
	}
	buf := make([]byte, maxTokenLen+3) // CR LF, and one octet to see that there is more
	defer clear(buf)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("console: token file: %w", err)
	}
	token := string(bytes.TrimSuffix(bytes.TrimSuffix(buf[:n], []byte("\n")), []byte("\r")))
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("console: token file %s: %w", path, err)
	}
	return token, nil
}

// checkToken holds a token to what a header field carries unchanged and what
// cannot be guessed through it.
func checkToken(token string) error {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return errors.New("the token is one line of visible ASCII characters without spaces")
		}
	}
	switch {
	case len(token) < minTokenLen:
		return fmt.Errorf("the token has %d characters, too few: at least %d (make one with: openssl rand -hex 32)", len(token), minTokenLen)
	case len(token) > maxTokenLen:
		return fmt.Errorf("the token has more than %d characters", maxTokenLen)
	}
	return nil
}
