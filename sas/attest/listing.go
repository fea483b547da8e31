package attest

import (
	"fmt"
	"strconv"
	"strings"
)

// listed is a key as gpg --with-colons lists it.
type listed struct {
	fingerprint string
	why         string          // why it counts for nothing, "" where it counts
	trusted     map[string]bool // user IDs that GnuPG trusts to belong to it
	signers     []string        // fingerprints of the key itself and its subkeys
}

// parseListing reads what gpg --with-colons --list-keys or --list-secret-keys
// writes (file DETAILS of GnuPG). Records that are not known are passed over.
func parseListing(out []byte) ([]listed, error) {
	var keys []listed
	for n, line := range strings.Split(string(out), "\n") {
		f := strings.Split(line, ":")
		kind := f[0]
		switch kind {
		case "pub", "sec", "fpr", "uid":
		default:
			continue
		}
		if len(f) < 10 {
			return nil, fmt.Errorf("line %d of the list of keys has only %d fields", n+1, len(f))
		}
		if kind == "pub" || kind == "sec" {
			k := listed{trusted: map[string]bool{}, why: validityWhy(f[1])}
			if len(f) > 11 && strings.Contains(f[11], "D") {
				k.why = "is disabled in GnuPG"
			}
			keys = append(keys, k)
			continue
		}
		if len(keys) == 0 {
			return nil, fmt.Errorf("line %d of the list of keys belongs to no key", n+1)
		}
		k := &keys[len(keys)-1]
		switch kind {
		case "fpr": // of the key itself first, of its subkeys then
			if k.fingerprint == "" {
				k.fingerprint = f[9]
			}
			k.signers = append(k.signers, f[9])
		case "uid":
			if f[1] == "f" || f[1] == "u" {
				k.trusted[unescape(f[9])] = true
			}
		}
	}
	return keys, nil
}

// validityWhy says what GnuPG has against a key.
func validityWhy(validity string) string {
	switch validity {
	case "r":
		return "is revoked"
	case "e":
		return "is expired"
	case "i":
		return "is invalid"
	case "d":
		return "is disabled in GnuPG"
	}
	return ""
}

// unescape undoes \xHH, by which gpg writes colons, backslashes and what is not
// printable.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, `\x`)
		if i < 0 || i+4 > len(s) {
			break
		}
		c, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil {
			b.WriteString(s[:i+2])
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		b.WriteByte(byte(c))
		s = s[i+4:]
	}
	b.WriteString(s)
	return b.String()
}
