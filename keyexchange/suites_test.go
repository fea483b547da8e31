package keyexchange

// Suites are those that every implementation has (protocol section 2, "suite"),
// in the order in which they are preferred.
func Suites() []Suite {
	return []Suite{
		{"AEAD_AES_256_GCM", 32, 12},
		{"AEAD_AES_128_GCM", 16, 12},
		{"AES_256_CM_HMAC_SHA1_80", 32, 14},
		{"AES_CM_128_HMAC_SHA1_80", 16, 14},
	}
}
