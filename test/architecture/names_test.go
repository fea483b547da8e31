package architecture

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
)

// configs imports neither keyexchange nor media and keeps the names of groups and
// suites itself; they have to be those that exist, in the same order of preference.
func TestConfigsKnowsTheGroupsAndSuites(t *testing.T) {
	t.Parallel()
	known := configs.WorkstationConfig().Crypto
	if want := []string{keyexchange.GroupX25519MLKEM768, keyexchange.GroupX25519}; !slices.Equal(known.Groups, want) {
		t.Errorf("configs knows the groups %v, keyexchange has %v", known.Groups, want)
	}
	var common, all []string
	for _, s := range srtp.Suites() {
		all = append(all, s.Name)
		if s.Common {
			common = append(common, s.Name)
		}
	}
	if !slices.Equal(known.Suites, common) {
		t.Errorf("configs takes the suites %v where none are named, media/srtp says %v", known.Suites, common)
	}
	file := "listeners: [{name: in, side: inside, address: \"127.0.0.1:5062\"}]\ncrypto: {suites: [" + strings.Join(all, ", ") + "]}\n"
	if _, err := configs.Parse("all.yaml", []byte(file)); err != nil {
		t.Errorf("a suite of media/srtp is not known to configs: %v", err)
	}
}
