// Package store keeps state: what has to survive a restart, such as the
// bindings of the registrar.
//
// A [Store] holds buckets, a bucket holds keys in the order of their octets, a
// key holds a value. [OpenFile] keeps them in one file, which is what sipward
// does unless told otherwise; [NewMemory] keeps them as long as the process
// lives, for tests and for those who want nothing on a disk. One suite of tests
// holds for both.
//
//	err := s.Update(func(tx store.Tx) error {
//		return tx.Put("pins", "bob@b.example", pin)
//	})
//
// # Durability
//
// An Update that returned nil is on the disk: neither the end of the process
// nor that of the machine takes it back. All of it is there or nothing.
// Concurrent Updates share one write to the disk, so that a hundred at once
// cost little more than one; none waits for others to come.
//
// # The file
//
// The file belongs to one process at a time; a lock that ends with the process
// sees to that. It carries the version of its layout: an older one is brought
// up to date when it is opened, one newer than this sipward knows is refused.
package store
