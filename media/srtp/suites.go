package srtp

import (
	pion "github.com/pion/srtp/v3"
)

// Suite is a protection profile under its registered name. Lengths are those
// of the master key and master salt, in octets.
type Suite struct {
	Name    string
	KeyLen  int
	SaltLen int
}

// MaxOverhead is the number of octets by which the longest suite lengthens a
// packet: for SRTCP under AEAD_AES_256_GCM a tag of 16 and an index of 4.
const MaxOverhead = 20

// profile is what a suite means to the code below.
type profile struct {
	Suite
	id      pion.ProtectionProfile
	rtpTag  int // octets that Protect adds
	rtcpTag int // octets of tag that ProtectRTCP adds, without the index
	aead    bool
}

// profiles in order of preference. No profile without authentication is ever
// listed here.
var profiles = [...]profile{
	{Suite{"AEAD_AES_256_GCM", 32, 12}, pion.ProtectionProfileAeadAes256Gcm, 16, 16, true},
	{Suite{"AEAD_AES_128_GCM", 16, 12}, pion.ProtectionProfileAeadAes128Gcm, 16, 16, true},
	{Suite{"AES_256_CM_HMAC_SHA1_80", 32, 14}, pion.ProtectionProfileAes256CmHmacSha1_80, 10, 10, false},
	{Suite{"AES_CM_128_HMAC_SHA1_80", 16, 14}, pion.ProtectionProfileAes128CmHmacSha1_80, 10, 10, false},
}

// Suites lists the protection profiles this package knows, best first.
func Suites() []Suite {
	suites := make([]Suite, 0, len(profiles))
	for _, p := range profiles {
		suites = append(suites, p.Suite)
	}
	return suites
}

// lookup finds a profile by its registered name.
func lookup(name string) (profile, bool) {
	for _, p := range profiles {
		if p.Name == name {
			return p, true
		}
	}
	return profile{}, false
}
