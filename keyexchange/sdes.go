package keyexchange

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Crypto is one a=crypto attribute of RFC 4568: an SRTP key that its sender
// will use, in clear. It protects a leg no better than its signalling is
// protected, so it is for the leg to a phone and nowhere else.
type Crypto struct {
	Tag       string // 1 to 9 digits
	Suite     Suite
	Key, Salt []byte // master key and master salt, in the suite's lengths
}

// ErrCrypto says that an a=crypto attribute is malformed or asks for something
// that is not done here: a suite that is not allowed, several keys, a master
// key identifier, or a session parameter that changes what packets look like.
var ErrCrypto = errors.New("keyexchange: a=crypto cannot be used")

// minLifetime is the shortest lifetime of a key, as the logarithm of packets,
// that is taken: at 50 packets a second almost six hours.
const minLifetime = 20

// ParseCrypto reads the value of an a=crypto attribute (RFC 4568 §9.1, §6.1).
// The only error is ErrCrypto.
func ParseCrypto(value string, suites []Suite) (Crypto, error) {
	f := strings.Fields(value)
	if len(f) < 3 || len(f[0]) > 9 || strings.Trim(f[0], "0123456789") != "" {
		return Crypto{}, ErrCrypto
	}
	suite, ok := findSuite(suites, f[1])
	if !ok || !harmless(f[3:]) {
		return Crypto{}, ErrCrypto
	}
	method, info, _ := strings.Cut(f[2], ":")
	params := strings.Split(info, "|")
	if !strings.EqualFold(method, "inline") || len(params) > 2 || len(params) == 2 && !longEnough(params[1]) {
		return Crypto{}, ErrCrypto // a third one is an MKI
	}
	// Some phones leave the padding out.
	both, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(params[0], "="))
	if err != nil || len(both) != suite.KeyLen+suite.SaltLen {
		clear(both)
		return Crypto{}, ErrCrypto
	}
	return Crypto{Tag: f[0], Suite: suite, Key: both[:suite.KeyLen:suite.KeyLen], Salt: both[suite.KeyLen:]}, nil
}

// longEnough judges a lifetime: 2^n or a number of packets.
func longEnough(lifetime string) bool {
	if exponent, ok := strings.CutPrefix(lifetime, "2^"); ok {
		n, err := strconv.Atoi(exponent)
		return err == nil && n >= minLifetime && n <= 48
	}
	n, err := strconv.ParseUint(lifetime, 10, 48)
	return err == nil && n >= 1<<minLifetime
}

// harmless says whether session parameters may be passed over: a hint about
// replay windows, and those that are marked as optional (RFC 4568 §6.3).
func harmless(params []string) bool {
	for _, p := range params {
		if !strings.HasPrefix(p, "-") && !strings.HasPrefix(p, "WSH=") {
			return false
		}
	}
	return true
}

// ChooseCrypto takes the first of the offered attributes that can be used.
func ChooseCrypto(values []string, suites []Suite) (Crypto, bool) {
	for _, v := range values {
		if c, err := ParseCrypto(v, suites); err == nil {
			return c, true
		}
	}
	return Crypto{}, false
}

// AnswerCrypto finds the attribute that an answer has taken of those offered
// (RFC 4568 §5.1.3): there is one, it has the tag and suite of an offered one, and
// a key of its own. ours is the offered one. The only error is ErrCrypto.
func AnswerCrypto(values []string, offered []Crypto) (ours, theirs Crypto, err error) {
	if len(values) != 1 {
		return ours, theirs, ErrCrypto
	}
	for _, o := range offered {
		c, err := ParseCrypto(values[0], []Suite{o.Suite})
		switch {
		case err != nil:
		case c.Tag != o.Tag || c.SameKey(o): // under one key both directions could share a keystream
			c.Erase()
		default:
			return o, c, nil
		}
	}
	return ours, theirs, ErrCrypto
}

// NewCrypto draws a key of this side's for a suite. The tag is the peer's where
// it answers one.
func NewCrypto(tag string, suite Suite) (Crypto, error) {
	c := Config{}
	both, err := c.draw(suite.KeyLen + suite.SaltLen)
	if err != nil {
		return Crypto{}, err
	}
	return Crypto{Tag: tag, Suite: suite, Key: both[:suite.KeyLen:suite.KeyLen], Salt: both[suite.KeyLen:]}, nil
}

// Value is the attribute's value, which holds the key.
func (c Crypto) Value() string {
	both := append(append(make([]byte, 0, len(c.Key)+len(c.Salt)), c.Key...), c.Salt...)
	defer clear(both)
	return c.Tag + " " + c.Suite.Name + " inline:" + base64.StdEncoding.EncodeToString(both)
}

// SameKey says whether two attributes hold one key for one suite.
func (c Crypto) SameKey(other Crypto) bool {
	return c.Suite.Name == other.Suite.Name && subtle.ConstantTimeCompare(c.Key, other.Key)&subtle.ConstantTimeCompare(c.Salt, other.Salt) == 1
}

// Erase forgets the key.
func (c *Crypto) Erase() {
	clear(c.Key)
	clear(c.Salt)
}

// String names the suite and never the key, so that no log has it.
func (c Crypto) String() string { return "crypto " + c.Tag + " " + c.Suite.Name }

// GoString is String, for the same reason.
func (c Crypto) GoString() string { return c.String() }
