package firsttime

import (
	"fmt"
	"regexp"
	"strings"
)

// Told is what sipward run has told a newcomer.
type Told struct {
	User      string   // an example of a user name
	Password  string   // as it is described
	Server    string   // of the account
	Proxy     string   // outbound
	Transport string   // "UDP or TCP"
	Echo, SAS string   // addresses to call
	Calls     []string // arguments of sipward that show the calls
}

// What is looked for in the lines that sipward run prints.
var (
	setting = regexp.MustCompile(`(?m)^ +(user name|password|server or domain|outbound proxy|transport) {2,}(.+)$`)
	address = regexp.MustCompile(`(?m)^ +sip:(echo|sas)@(\S+) {2,}you hear`)
	command = regexp.MustCompile(`"sipward (calls[^"]*)" shows them`)
	example = regexp.MustCompile(`such as (\S+)$`)
)

// Read reads what sipward run has printed. The error names what is missing.
func Read(printed string) (t Told, err error) {
	values := map[string]*string{"user name": &t.User, "password": &t.Password, "server or domain": &t.Server, "outbound proxy": &t.Proxy, "transport": &t.Transport}
	for _, m := range setting.FindAllStringSubmatch(printed, -1) {
		*values[m[1]] = strings.TrimSpace(m[2])
	}
	if m := example.FindStringSubmatch(t.User); m != nil {
		t.User = m[1]
	} else {
		t.User = ""
	}
	values["echo"], values["sas"] = &t.Echo, &t.SAS
	for _, m := range address.FindAllStringSubmatch(printed, -1) {
		*values[m[1]] = "sip:" + m[1] + "@" + m[2]
	}
	for name, value := range values {
		if *value == "" {
			return t, fmt.Errorf("sipward does not tell the %s:\n%s", name, printed)
		}
	}
	m := command.FindStringSubmatch(printed)
	if m == nil {
		return t, fmt.Errorf("sipward does not tell how to see the calls:\n%s", printed)
	}
	t.Calls = strings.Fields(m[1])
	return t, nil
}
