// Package vectors holds the test vectors of the key exchange as files, and the
// test that computes them. README.md says how to read them.
//
// The computation is written out from docs/protocol.md in plain hashes and
// shares no code with package keyexchange, whose own test plays the files
// through both of its roles. To write the files anew:
//
//	go test ./test/vectors -update
package vectors
