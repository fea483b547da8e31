package store

// Records is one bucket of a store as a set of records, in the shape that
// packages which know no store ask for what they keep, such as the registrar.
type Records struct {
	store  Store
	bucket string
}

// NewRecords returns the records of a bucket. The bucket's name is checked with
// the first record that is written.
func NewRecords(s Store, bucket string) *Records { return &Records{store: s, bucket: bucket} }

// Load calls fn for every record, in ascending order of the keys, until fn
// returns an error, which Load then returns. fn starts no Update or View.
func (r *Records) Load(fn func(key string, value []byte) error) error {
	return r.store.View(func(tx Tx) error { return tx.Each(r.bucket, fn) })
}

// Save sets a record, durably before it returns. Concurrent calls share one
// write to the disk.
func (r *Records) Save(key string, value []byte) error {
	return r.store.Update(func(tx Tx) error { return tx.Put(r.bucket, key, value) })
}

// Delete removes records, all of them or none, durably before it returns. Keys
// without a record are passed over.
func (r *Records) Delete(keys ...string) error {
	return r.store.Update(func(tx Tx) error {
		for _, key := range keys {
			if err := tx.Delete(r.bucket, key); err != nil {
				return err
			}
		}
		return nil
	})
}
