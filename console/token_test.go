package console

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestReadToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("x", maxTokenLen)
	for i, c := range []struct {
		content string
		mode    os.FileMode
		want    string // token, or
		err     string // part of the error
	}{
		{testToken, 0o600, testToken, ""},
		{testToken + "\n", 0o400, testToken, ""},
		{testToken + "\r\n", 0o440, testToken, ""},
		{long + "\r\n", 0o600, long, ""},
		{long + "x", 0o600, "", "more than 1024"},
		{long + "\r\n" + testToken, 0o600, "", "one line"},
		{testToken + "\n\n", 0o600, "", "one line"},
		{"", 0o600, "", "at least 16"},
		{"tooshort\n", 0o600, "", "at least 16"},
		{testToken + "\n" + testToken, 0o600, "", "one line"},
		{"correct horse battery", 0o600, "", "without spaces"},
		{"korrektes-pferd-mit-öl", 0o600, "", "ASCII"},
		{testToken, 0o644, "", "chmod 600"},
		{testToken, 0o604, "", "mode 604"},
		{testToken, 0o620, "", "chmod 600"},
		{testToken, 0o602, "", "chmod 600"},
	} {
		if runtime.GOOS == "windows" && c.mode&0o027 != 0 {
			continue
		}
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil { // past the umask
			t.Fatal(err)
		}
		got, err := ReadToken(path)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.40q, mode %o: %q, %v", c.content, c.mode, got, err)
		}
		if err != nil && len(c.content) > 0 && strings.Contains(err.Error(), c.content) {
			t.Errorf("mode %o: the error holds the token: %v", c.mode, err)
		}
	}
	if _, err := ReadToken(dir); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := ReadToken(filepath.Join(dir, "missing")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("a missing file: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}

func TestServerTakesTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, base := serve(t, Options{Source: newFakeSource(), TokenFile: path})
	if resp, _ := ask(t, base+"/api/calls", nil); resp.StatusCode != 401 {
		t.Errorf("without the token: %s", resp.Status)
	}
	if resp, _ := ask(t, base+"/api/calls", withToken); resp.StatusCode != 200 {
		t.Errorf("with the token: %s", resp.Status)
	}
}
