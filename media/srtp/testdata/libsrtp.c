/* Seals and opens packets with libsrtp2, as its caller says on standard input:
 *
 *   suite, key||salt in hex          once, on the first line
 *   s HEX   seal RTP      o HEX   open SRTP
 *   S HEX   seal RTCP     O HEX   open SRTCP
 *
 * Each line is answered by one: the packet in hex, or "!" and libsrtp's status. */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unhex(const char *s, unsigned char *out)
{
	int n = 0;
	unsigned x;
	while (sscanf(s, "%2x", &x) == 1) {
		out[n++] = x;
		s += 2;
	}
	return n;
}

int main(void)
{
	static char line[20000], suite[100], hex[200];
	static unsigned char key[64], pkt[10000];
	srtp_policy_t p;
	srtp_t out, in;

	memset(&p, 0, sizeof p);
	if (!fgets(line, sizeof line, stdin) || sscanf(line, "%99s %199s", suite, hex) != 2)
		return 2;
	unhex(hex, key);
	if (!strcmp(suite, "AEAD_AES_256_GCM")) {
		srtp_crypto_policy_set_aes_gcm_256_16_auth(&p.rtp);
		srtp_crypto_policy_set_aes_gcm_256_16_auth(&p.rtcp);
	} else if (!strcmp(suite, "AEAD_AES_128_GCM")) {
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&p.rtp);
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&p.rtcp);
	} else if (!strcmp(suite, "AES_256_CM_HMAC_SHA1_80")) {
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&p.rtp);
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&p.rtcp);
	} else if (!strcmp(suite, "AES_CM_128_HMAC_SHA1_80")) {
		srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p.rtp);
		srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p.rtcp);
	} else {
		return 2;
	}
	p.key = key;
	p.window_size = 256;
	if (srtp_init())
		return 3;
	p.ssrc.type = ssrc_any_outbound;
	if (srtp_create(&out, &p))
		return 4;
	p.ssrc.type = ssrc_any_inbound;
	if (srtp_create(&in, &p))
		return 4;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		int i, n = unhex(line + 2, pkt);
		srtp_err_status_t err;
		switch (line[0]) {
		case 's': err = srtp_protect(out, pkt, &n); break;
		case 'o': err = srtp_unprotect(in, pkt, &n); break;
		case 'S': err = srtp_protect_rtcp(out, pkt, &n); break;
		case 'O': err = srtp_unprotect_rtcp(in, pkt, &n); break;
		default: return 5;
		}
		if (err)
			printf("!%d", err);
		else
			for (i = 0; i < n; i++)
				printf("%02x", pkt[i]);
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}
