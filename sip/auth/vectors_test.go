package auth

import (
	"encoding/hex"
	"strings"
	"testing"
)

// vectors are the worked examples of the RFCs. RFC 8760 has none of its own:
// it takes the algorithms of RFC 7616 as they are.
var vectors = []struct {
	name, user, realm, password, method string
	algorithm                           Algorithm
	proof                               proof
	body, response                      string
}{
	{
		"RFC 7616 section 3.9.1, MD5", "Mufasa", "http-auth@example.org", "Circle of Life", "GET", MD5,
		proof{"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "auth", "/dir/index.html"},
		"", "8ca523f5e9506fed4657c9700eebdbec",
	},
	{
		"RFC 7616 section 3.9.1, SHA-256", "Mufasa", "http-auth@example.org", "Circle of Life", "GET", SHA256,
		proof{"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "auth", "/dir/index.html"},
		"", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	},
	{
		// The RFC prints a hash of the wrong kind; this one is as its errata correct it.
		"RFC 7616 section 3.9.2, SHA-512-256", "J\u00e4s\u00f8n Doe", "api@example.org", "Secret, or not?", "GET", SHA512256,
		proof{"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "00000001", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", "auth", "/doe.json"},
		"", "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
	},
	{
		"RFC 2617 section 3.5", "Mufasa", "testrealm@host.com", "Circle Of Life", "GET", MD5,
		proof{"dcd98b7102dd2f0e8b11d0f600bfb0c093", "00000001", "0a4f113b", "auth", "/dir/index.html"},
		"", "6629fae49393a05397450978507c4ef1",
	},
	{
		// Without qop; the response as the errata correct it.
		"RFC 2069 section 2.4", "Mufasa", "testrealm@host.com", "CircleOfLife", "GET", MD5,
		proof{nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", uri: "/dir/index.html"},
		"", "1949323746fe6a43ef61f9606e7febea",
	},
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			ha1 := HA1(v.algorithm, v.user, v.realm, v.password)
			got := hex.EncodeToString(v.algorithm.response(nil, ha1, v.proof, v.method, []byte(v.body)))
			if got != v.response {
				t.Errorf("response %s, want %s", got, v.response)
			}
			p := v.proof
			if o := plainResponse(string(v.algorithm), v.user, v.realm, v.password, v.method, p.uri, p.nonce, p.nc, p.cnonce, p.qop, v.body); o != v.response {
				t.Errorf("the tests' own computation says %s, want %s", o, v.response)
			}
		})
	}
}

// The credentials of the RFCs as they stand there, given to a challenger: the
// nonce is not its own, so the right password is Stale and another one Wrong.
func TestVectorsAsFields(t *testing.T) {
	t.Parallel()
	const fields = `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=ALG, ` +
		`nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", ` +
		`qop=auth, response="RESP", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	for _, v := range vectors[:2] {
		value := strings.NewReplacer("ALG", string(v.algorithm), "RESP", v.response).Replace(fields)
		r := Request{Method: "GET", URI: "/dir/index.html"}
		for password, verdict := range map[string]Verdict{"Circle of Life": Stale, "Circle of life": Wrong} {
			ha1 := HA1(v.algorithm, v.user, v.realm, password)
			c := newChallenger(t, Options{Realm: v.realm, Users: fixed{v.user, v.algorithm, ha1}})
			want(t, c, verdict, r, value)
		}
	}
}

// fixed is a Lookup with one hash.
type fixed struct {
	user string
	a    Algorithm
	ha1  string
}

func (f fixed) HA1(user string, a Algorithm) (string, bool) {
	return f.ha1, user == f.user && a == f.a
}
func (f fixed) Serves(a Algorithm) bool { return a == f.a }
