package relay

import (
	"net/netip"
	"testing"
)

func TestReadsDescriptions(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort("127.0.0.2:15000")
	d, err := read(describe(at, "RTP/SAVP", "a=crypto:3 AEAD_AES_128_GCM inline:QUJD|2^31", "a=crypto:4 F8_128_HMAC_SHA1_80 inline:REVG"))
	if err != nil || d.at != at || len(d.crypto) != 2 || d.crypto["AEAD_AES_128_GCM"] != (cryptoLine{"3", "QUJD"}) || d.crypto["F8_128_HMAC_SHA1_80"] != (cryptoLine{"4", "REVG"}) {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{"", "c=IN IP4 127.0.0.1\r\n", "m=audio 9 RTP/AVP 0\r\n", "c=IN IP4 x\r\nm=audio 9 RTP/AVP 0\r\n",
		"c=IN IP4 127.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n", "c=IN IP4 127.0.0.1\r\nm=audio x RTP/AVP 0\r\n"} {
		if d, err := read(bad); err == nil {
			t.Errorf("%q reads as %+v", bad, d)
		}
	}
}
