package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sipward/sipward/b2bua"
)

func TestSAS(t *testing.T) {
	t.Parallel()
	var said []b2bua.Said
	_, base := serve(t, Options{Source: newFakeSource(), Token: testToken, SaySAS: func(_ context.Context, call string, s b2bua.Said) (b2bua.View, error) {
		said = append(said, s)
		v := view("1", 1)
		v.Trust, v.Says = "verified", "both people read the same words"
		switch call {
		case "1":
			return v, nil
		case "wrong":
			return v, b2bua.ErrWrongCode
		case "early":
			return v, b2bua.ErrNoSAS
		case "disk":
			return v, errors.New("no space")
		}
		return v, b2bua.ErrNoCall
	}})
	c := client(t, base, testToken)
	for _, s := range []b2bua.Said{{Equal: true}, {Different: true}, {Code: "123 456"}} {
		a, err := c.SaySAS(t.Context(), "1", s)
		if err != nil || a != (SASAnswer{"verified", "both people read the same words"}) || said[len(said)-1] != s {
			t.Errorf("%+v: %+v, %v, %+v", s, a, err, said)
		}
	}
	for call, want := range map[string]string{"wrong": "409", "early": "409", "other": "404", "disk": "500", "a/b": "404"} {
		if _, err := c.SaySAS(t.Context(), call, b2bua.Said{Equal: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", call, err)
		}
	}
	for body, want := range map[string]int{`{"equal":true}`: 200, `{"code":"123456"}`: 200, `{"equal":"yes"}`: 400, `{"word":"x"}`: 400, ``: 400, `{"equal":true}{}`: 400} {
		if resp, got := ask(t, base+"/api/calls/1/sas", post(body)); resp.StatusCode != want || want == 200 && strings.Contains(got, "123") {
			t.Errorf("%s: %d, want %d: %s", body, resp.StatusCode, want, got)
		}
	}
	if resp, _ := ask(t, base+"/api/calls/1/sas", withToken); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s", resp.Status)
	}
}

// notebook notes what it is told.
type notebook struct{ told []string }

func (n *notebook) note(format string, args ...any) error {
	n.told = append(n.told, fmt.Sprintf(format, args...))
	if strings.Contains(n.told[len(n.told)-1], "nobody") {
		return fmt.Errorf("%w: nobody", ErrNotRemembered)
	}
	if strings.Contains(n.told[len(n.told)-1], "bad") {
		return errors.New("bad")
	}
	return nil
}

func (n *notebook) Export(w io.Writer) error {
	_, err := io.WriteString(w, "{\"version\": 1}\n")
	return err
}

func (n *notebook) Import(r io.Reader) (int, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	return 7, n.note("import %s", b)
}
func (n *notebook) Confirm(identity, key string) error { return n.note("confirm %s %s", identity, key) }
func (n *notebook) Forget(identity, key string) error  { return n.note("forget %s %s", identity, key) }
func (n *notebook) Block(identity, keyType, key string, blocked bool) error {
	return n.note("block %s %s %s %v", identity, keyType, key, blocked)
}

func TestTrust(t *testing.T) {
	t.Parallel()
	n := &notebook{}
	_, base := serve(t, Options{Source: newFakeSource(), Token: testToken, Trust: n})
	c := client(t, base, testToken).Trust(t.Context())
	var exported bytes.Buffer
	if err := c.Export(&exported); err != nil || exported.String() != "{\"version\": 1}\n" {
		t.Errorf("%q, %v", exported.String(), err)
	}
	if keys, err := c.Import(strings.NewReader("{}")); keys != 7 || err != nil {
		t.Error(keys, err)
	}
	for _, err := range []error{c.Confirm("sip:bob@b.example", "AB"), c.Forget("sip:bob@b.example", ""), c.Block("sip:eve@e.example", "", "", true), c.Block("", "ed25519", "K", false)} {
		if err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(n.told, "\n"); got != "import {}\nconfirm sip:bob@b.example AB\nforget sip:bob@b.example \nblock sip:eve@e.example   true\nblock  ed25519 K false" {
		t.Error(got)
	}
	if err := c.Forget("nobody", ""); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
	if err := c.Confirm("bad", ""); err == nil || !strings.Contains(err.Error(), "400") {
		t.Error(err)
	}
	for path, want := range map[string]int{"confirm": 400, "praise": 404, "": 404} {
		body := `{"who":"x"}`
		if path == "praise" {
			body = `{}`
		}
		if resp, got := ask(t, base+trustPath+path, post(body)); resp.StatusCode != want {
			t.Errorf("%q: %s %s", path, resp.Status, got)
		}
	}
	// Without the token nobody changes or sees anything.
	told := len(n.told)
	for _, path := range []string{"/api/trust/confirm", "/api/calls/1/sas"} {
		edit := post(`{"identity":"sip:x@y"}`)
		resp, _ := ask(t, base+path, func(r *http.Request) { edit(r); r.Header.Del("Authorization") })
		if resp.StatusCode != 401 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if len(n.told) != told {
		t.Error(n.told[told:])
	}
}
