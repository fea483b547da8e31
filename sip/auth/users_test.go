package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// usersFile writes a file that is old enough for its time to be trusted.
func usersFile(t testing.TB, w *watch, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := w.now().Add(-time.Minute)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func has(u *Users, user, password string) bool {
	for _, a := range byStrength {
		if h, ok := u.HA1(user, a); ok && h == HA1(a, user, realm, password) {
			return true
		}
	}
	return false
}

func TestUsers(t *testing.T) {
	t.Parallel()
	line := func(a Algorithm, user, pw string) string {
		l, err := HashLine(a, user, realm, pw)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	path := filepath.Join(t.TempDir(), "users.txt")
	w := newWatch()
	usersFile(t, w, path, "\ufeff# accounts\r\n\n  # more\nbob:zanzibar\r\nalice:pass word#1\nzoe:{plain}{a:b}\n"+
		line(MD5, "carol", "c")+"\n"+line(SHA256, "carol", "c")+"\n"+line(SHA512256, "carol", "c")+"\n"+
		"dave@example.net:example.com:{md5}"+strings.ToUpper(HA1(MD5, "dave@example.net", realm, "d"))+"\nJ\u00f8rg:\u00fc")
	u, err := openUsers(path, realm, w.now)
	if err != nil {
		t.Fatal(err)
	}
	for user, pw := range map[string]string{"bob": "zanzibar", "alice": "pass word#1", "zoe": "{a:b}", "carol": "c", "dave@example.net": "d", "J\u00f8rg": "\u00fc"} {
		if !has(u, user, pw) {
			t.Errorf("%s is not there with %q", user, pw)
		}
	}
	if u.Len() != 6 || u.Realm() != realm || u.Err() != nil {
		t.Errorf("%d users of %s, %v", u.Len(), u.Realm(), u.Err())
	}
	if _, ok := u.HA1("Bob", MD5); ok {
		t.Error("names are compared without their case")
	}
	if _, ok := u.HA1("dave@example.net", SHA256); ok {
		t.Error("a hash out of nothing")
	}
	if _, ok := u.HA1("bob", "SHA-1"); ok {
		t.Error("an unknown algorithm")
	}
	if u.Serves(SHA256) || u.Serves(SHA512256) || !u.Serves(MD5) || u.Serves("SHA-1") {
		t.Error("dave has MD5 alone: that must be what is offered")
	}
	if ws := u.Warnings(); len(ws) != 1 || !strings.Contains(ws[0], "1 of 6 users") {
		t.Errorf("warnings %q", ws)
	}
	if s := fmt.Sprintf("%v %+v %#v", u, u, u); strings.Contains(s, "bob") {
		t.Error(s)
	}
	// A challenger of another realm could never say yes.
	if _, err := New(Options{Realm: "example.org", Users: u}); err == nil {
		t.Error("taken with the users of another realm")
	}
	c := newChallenger(t, Options{Users: u})
	if ch := c.Challenge(false); len(ch) != 1 {
		t.Errorf("offered %q", ch)
	}
	s := NewSession(Credentials{User: "dave@example.net", Password: "d"})
	want(t, c, OK, register, answer(t, s, c.Challenge(false), "", register))
}

func TestServes(t *testing.T) {
	t.Parallel()
	h := func(a Algorithm) string { l, _ := HashLine(a, "x", realm, "p"); return l + "\n" }
	for _, tt := range []struct {
		text   string
		serves [3]bool // MD5, SHA-256, SHA-512-256
	}{
		{"", [3]bool{true, true, true}},
		{"bob:x\n", [3]bool{true, true, true}},
		{h(MD5), [3]bool{true, false, false}},
		{h(SHA256), [3]bool{false, true, false}},
		{h(SHA256) + "bob:x\n", [3]bool{true, true, false}},
		{h(MD5) + h(SHA256), [3]bool{true, true, false}},
	} {
		a, problems := parseUsers([]byte(tt.text), realm)
		if len(problems) > 0 || a.serves != tt.serves {
			t.Errorf("%q serves %v, want %v; %v", tt.text, a.serves, tt.serves, problems)
		}
	}
}

func TestUsersRejected(t *testing.T) {
	t.Parallel()
	const md5 = "939e7578ed9e3c518a452acee763bce9"
	long := strings.Repeat("s3cret", 50)
	for _, tt := range []struct{ line, says string }{
		{"s3cret", "no colon"},
		{":s3cret", "name is empty"},
		{"bob:", "password is empty"},
		{"bob:{plain}", "password is empty"},
		{" bob:s3cret", "begins or ends with a blank"},
		{"bob :s3cret", "begins or ends with a blank"},
		{"bob:s3cret ", "begins or ends with a blank"},
		{"bob: s3cret", "begins or ends with a blank"},
		{"b\"ob:s3cret", "quote"},
		{"b\\ob:s3cret", "backslash"},
		{"b\x00ob:s3cret", "control"},
		{"b\xffob:s3cret", "no UTF-8"},
		{"bob:s3\x07cret", "control"},
		{"bob:s3\xffcret", "no UTF-8"},
		{long + ":x", "more than 255"},
		{"bob:" + long, "more than 255"},
		{"bob:{s3cret", "brace"},
		{"bob:s3cret:with colon", "realm"},
		{"bob:example.org:" + md5, "realm"},
		{"bob:example.com:s3cret", "32 hexadecimal"},
		{"bob:example.com:" + md5 + "0", "32 hexadecimal"},
		{"bob:example.com:{SHA-256}" + md5, "64 hexadecimal"},
		{"bob:example.com:{SHA-1}" + md5, "braces"},
		{"bob:example.com:{}" + md5, "braces"},
		{"bob:example.com:" + md5 + ":s3cret", "hexadecimal"},
		{"eve:s3cret", "already"},
		{"eve:example.com:" + md5, "already"},
		{"mia:s3cret", "already"},
		{"mia:example.com:" + md5, "already"},
	} {
		_, problems := parseUsers([]byte("# one\neve:x\nmia:example.com:"+md5+"\n"+tt.line+"\nbob:fine\n"), realm)
		if len(problems) != 1 || problems[0].Line != 4 || !strings.Contains(problems[0].Message, tt.says) {
			t.Errorf("%q: %v, want line 4 and %q", tt.line, problems, tt.says)
			continue
		}
		if m := problems[0].Message; strings.Contains(m, "s3cret") || strings.Contains(m, md5) {
			t.Errorf("a secret in %q", m)
		}
	}
	_, problems := parseUsers([]byte(strings.Repeat("bad\n", 100)), realm)
	if len(problems) != maxProblems {
		t.Errorf("%d problems", len(problems))
	}
	err := error(&FileError{"users.txt", problems[:2]})
	if !strings.HasPrefix(err.Error(), "users.txt:1: no colon") || !strings.Contains(err.Error(), "\nusers.txt:2: no colon") {
		t.Error(err)
	}
}

func TestHashLine(t *testing.T) {
	t.Parallel()
	if l, err := HashLine(MD5, "Mufasa", "testrealm@host.com", "Circle Of Life"); err != nil || l != "Mufasa:testrealm@host.com:939e7578ed9e3c518a452acee763bce9" {
		t.Error(l, err)
	}
	for _, tt := range [][4]string{
		{"SHA-1", "bob", realm, "x"}, {"MD5", "bo:b", realm, "x"}, {"MD5", "bob", "a:b", "x"}, {"MD5", "bob", realm, ""}, {"MD5", "bob", realm, "a\nb"},
	} {
		if l, err := HashLine(Algorithm(tt[0]), tt[1], tt[2], tt[3]); err == nil {
			t.Errorf("%q", l)
		}
	}
}

func TestUsersFileItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := OpenUsers(filepath.Join(dir, "none"), realm); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := OpenUsers(dir, realm); err == nil {
		t.Error("a folder was read")
	}
	path := filepath.Join(dir, "users.txt")
	if err := os.WriteFile(path, []byte("bob:x\nbad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var fe *FileError
	if _, err := OpenUsers(path, realm); !errors.As(err, &fe) || fe.Path != path || len(fe.Problems) != 1 || fe.Problems[0].Line != 2 {
		t.Error(err)
	}
	if _, err := OpenUsers(path, "a:b"); err == nil {
		t.Error("realm taken")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	u, err := OpenUsers(path, realm)
	if err != nil {
		t.Fatal(err)
	}
	if ws := strings.Join(u.Warnings(), "\n"); !strings.Contains(ws, "mode 0644") || !strings.Contains(ws, "nobody can log in") {
		t.Errorf("warnings %q", ws)
	}
	if err := os.Truncate(path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenUsers(path, realm); err == nil {
		t.Error("a file of any size was read")
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	w := newWatch()
	path := filepath.Join(t.TempDir(), "users.txt")
	usersFile(t, w, path, "bob:one\n")
	u, err := openUsers(path, realm, w.now)
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	u.OnReload(func(err error) {
		if u.Err() != err { // and it may ask
			t.Error("Err says something else")
		}
		told = append(told, err)
	})
	expect := func(what, password string, n int, broken bool) {
		t.Helper()
		if !has(u, "bob", password) {
			t.Errorf("%s: bob's password is not %q", what, password)
		}
		if len(told) != n || (u.Err() != nil) != broken {
			t.Errorf("%s: told %d times, want %d; %v", what, len(told), n, u.Err())
		}
		if broken && strings.Contains(u.Err().Error(), "s3cret") {
			t.Errorf("a secret in %v", u.Err())
		}
	}
	expect("as opened", "one", 0, false)
	usersFile(t, w, path, "bob:two!\n")
	w.pass(pollEvery - 1)
	expect("not looked at yet", "one", 0, false)
	w.pass(1)
	expect("changed", "two!", 1, false)

	usersFile(t, w, path, "bob:three\ns3cret\n")
	w.pass(pollEvery)
	expect("broken", "two!", 2, true)
	w.pass(time.Hour)
	expect("still broken", "two!", 2, true)
	usersFile(t, w, path, "bob:four\n")
	w.pass(pollEvery)
	expect("mended", "four", 3, false)

	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	w.pass(pollEvery)
	expect("gone", "four", 4, true)
	w.pass(pollEvery)
	expect("still gone", "four", 4, true)
	if err := os.Rename(path+".away", path); err != nil { // the very same file
		t.Fatal(err)
	}
	w.pass(pollEvery)
	expect("back", "four", 5, false)

	// Another file under the name, with size and time of the old one.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	usersFile(t, w, path+".new", "bob:five\n")
	if err := os.Chtimes(path+".new", info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	w.pass(pollEvery)
	expect("renamed onto it", "five", 6, false)

	// Twice within the grain of the file's clock: same size, same time.
	young := w.now().Add(time.Second)
	for _, pw := range []string{"six!", "6ix!"} {
		if err := os.WriteFile(path, []byte("bob:"+pw+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, young, young); err != nil {
			t.Fatal(err)
		}
		w.pass(pollEvery)
		expect("young", pw, 7, false)
	}
	w.pass(time.Hour)
	expect("settled", "6ix!", 7, false)
}

func TestReloadRace(t *testing.T) {
	t.Parallel()
	w := newWatch()
	path := filepath.Join(t.TempDir(), "users.txt")
	const four = "bob0:zanzibar\nbob1:zanzibar\nbob2:zanzibar\nbob3:zanzibar\n"
	usersFile(t, w, path, four)
	u, err := openUsers(path, realm, w.now)
	if err != nil {
		t.Fatal(err)
	}
	c := newChallenger(t, Options{Users: u})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s := NewSession(Credentials{User: fmt.Sprint("bob", i), Password: "zanzibar"})
			for range 50 {
				want(t, c, OK, register, answer(t, s, c.Challenge(false), "", register))
				u.Err()
				u.Warnings()
			}
		})
	}
	for i := range 20 {
		usersFile(t, w, path+".new", four+strings.Repeat("#\n", i))
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
		w.pass(pollEvery)
	}
	wg.Wait()
}
