package b2bua

import (
	"fmt"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
)

// Suites are the protection profiles of these names, in this order, for
// [Options]. The error names one that is not built in.
func Suites(names ...string) ([]keyexchange.Suite, error) {
	byName := map[string]keyexchange.Suite{}
	for _, s := range srtp.Suites() {
		byName[s.Name] = keyexchange.Suite{Name: s.Name, KeyLen: s.KeyLen, SaltLen: s.SaltLen}
	}
	suites := make([]keyexchange.Suite, 0, len(names))
	for _, name := range names {
		s, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("%s is not built in", name)
		}
		suites = append(suites, s)
	}
	return suites, nil
}

// commonSuites are those that every sipward has.
func commonSuites() (suites []keyexchange.Suite) {
	for _, s := range srtp.Suites() {
		if s.Common {
			suites = append(suites, keyexchange.Suite{Name: s.Name, KeyLen: s.KeyLen, SaltLen: s.SaltLen})
		}
	}
	return suites
}
