package architecture

import (
	"slices"
	"testing"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/keyexchange"
)

// configs imports neither keyexchange nor media and keeps the names of groups and
// suites itself; they have to be those that exist, in the same order of preference.
func TestConfigsKnowsTheGroupsAndSuites(t *testing.T) {
	t.Parallel()
	known := configs.WorkstationConfig().Crypto
	if want := []string{keyexchange.GroupX25519MLKEM768, keyexchange.GroupX25519}; !slices.Equal(known.Groups, want) {
		t.Errorf("configs knows the groups %v, keyexchange has %v", known.Groups, want)
	}
	var suites []string
	for _, s := range keyexchange.Suites() {
		suites = append(suites, s.Name)
	}
	if !slices.Equal(known.Suites, suites) {
		t.Errorf("configs knows the suites %v, keyexchange has %v", known.Suites, suites)
	}
}
