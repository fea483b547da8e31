package firsttime

import (
	"reflect"
	"strings"
	"testing"
)

const banner = `sipward is ready, configuration: the built-in workstation.yaml
  inside   127.0.0.1:5062  udp and tcp
  API      http://127.0.0.1:5080
  In your softphone make an account:
    user name         any name, such as me
    password          none: leave it empty
    server or domain  127.0.0.1:5062
    outbound proxy    127.0.0.1:5062
    transport         UDP or TCP
  To try it, call
    sip:echo@127.0.0.1:5062  you hear yourself
    sip:sas@127.0.0.1:5062   you hear six digits
  "sipward calls --api http://127.0.0.1:1" shows them: its code must be the one that you hear.
`

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := Read(banner)
	at := "127.0.0.1:5062"
	want := Told{User: "me", Password: "none: leave it empty", Server: at, Proxy: at, Transport: "UDP or TCP", Echo: "sip:echo@" + at, SAS: "sip:sas@" + at,
		Calls: []string{"calls", "--api", "http://127.0.0.1:1"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// A line that is missing is missed.
	for line := range strings.Lines(banner) {
		needed := !strings.Contains(line, "ready") && !strings.HasPrefix(line, "  API") && !strings.HasPrefix(line, "  in") && !strings.HasPrefix(line, "  In") && !strings.Contains(line, "To try")
		if _, err := Read(strings.Replace(banner, line, "", 1)); (err != nil) != needed {
			t.Errorf("without %q: %v", line, err)
		}
	}
}
