package plan

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const gcm = "AEAD_AES_128_GCM"

func TestReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plan.json")
	text := `{"plain_local": "127.0.0.2:15000", "secure_local": "127.0.0.3:15000", "more": 1,
		"sessions": [
		{"plain": "127.0.0.1:20000", "secure": "127.0.0.1:20002", "suite": "AEAD_AES_128_GCM",
		 "to_proxy": "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHA==", "from_proxy": "HBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQ"},
		{"plain": "127.0.0.1:20004", "secure": "127.0.0.1:20006", "suite": "NONE", "to_proxy": "", "from_proxy": ""}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if p.PlainLocal.String() != "127.0.0.2:15000" || len(p.Sessions) != 2 || p.Sessions[0].Secure.Port() != 20002 {
		t.Errorf("%+v", p)
	}
	for _, text := range []string{p.Sessions[0].ToProxy, p.Sessions[0].FromProxy} { // with and without padding
		k, err := ParseKey(gcm, text)
		if err != nil || len(k.Key) != 16 || len(k.Salt) != 12 {
			t.Errorf("%+v, %v", k, err)
		}
	}
	if err := p.Write(file); err != nil {
		t.Fatal(err)
	}
	if again, err := Read(file); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("%+v, %v", again, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keys lie in a file of mode %v", info.Mode())
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	key, err := NewKey(gcm)
	if err != nil {
		t.Fatal(err)
	}
	session := func(s string) string {
		return `{"plain_local": "127.0.0.2:1", "secure_local": "127.0.0.3:1", "sessions": [` + s + `]}`
	}
	for text, want := range map[string]string{
		`x`:                  "list of sessions",
		`{"sessions": [{}]}`: "plain_local",
		session(``):          "no sessions",
		session(`{"plain": "127.0.0.1:2", "suite": "NONE"}`):                                                                      "session 0: plain and secure",
		session(`{"plain": "127.0.0.1:2", "secure": "127.0.0.1:4", "suite": "ROT13"}`):                                            `"ROT13"`,
		session(`{"plain": "127.0.0.1:2", "secure": "127.0.0.1:4", "suite": "` + gcm + `", "to_proxy": "AAAA"}`):                  "3 octets instead of 28",
		session(`{"plain": "127.0.0.1:2", "secure": "127.0.0.1:4", "suite": "` + gcm + `", "to_proxy": "` + key + `"}`):           "0 octets instead of 28",
		session(`{"plain": "127.0.0.1:2", "secure": "127.0.0.1:4", "suite": "` + gcm + `", "to_proxy": "!", "from_proxy": "AA"}`): "base64",
	} {
		file := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := Read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", text, p, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}
