package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"go.etcd.io/bbolt"
)

// The version of a file's layout stands in a bucket whose name no [Tx] takes.
const (
	schemaBucket = "_schema"
	schemaKey    = "version"
)

// migration brings a file to a version from the one before.
type migration struct {
	to  int
	run func(Tx) error // nil: nothing has to change
}

// migrations are all versions there have been, in their order; the last is the
// one that this sipward writes. Entries are added, never changed: files of
// every version are about.
var migrations = []migration{
	{to: 1}, // the first: an empty file
}

// migrate brings a file up to date, in one transaction: it is of the version it
// had, or of the last.
func migrate(db *bbolt.DB, steps []migration) error {
	t, err := db.Begin(true)
	if err != nil {
		return err
	}
	defer t.Rollback() // nothing behind Commit
	version, err := schemaVersion(t)
	if err != nil {
		return err
	}
	last := steps[len(steps)-1].to
	if version == last {
		return nil
	}
	if version > last {
		return fmt.Errorf("has the layout %d of a newer sipward; this one knows layouts up to %d: run the newer one, or put back a backup made before the upgrade", version, last)
	}
	base := boltBase{t}
	for _, step := range steps {
		if step.to <= version || step.run == nil {
			continue
		}
		u := newUpdate(base)
		u.bound = math.MaxInt
		if err := u.run(step.run); err != nil {
			return fmt.Errorf("bringing it to layout %d: %w", step.to, err)
		}
		if err := base.apply(u); err != nil {
			return fmt.Errorf("bringing it to layout %d: %w", step.to, err)
		}
	}
	b, err := t.CreateBucketIfNotExists([]byte(schemaBucket))
	if err != nil {
		return err
	}
	if err := b.Put([]byte(schemaKey), strconv.AppendInt(nil, int64(last), 10)); err != nil {
		return err
	}
	return t.Commit()
}

// schemaVersion reads the version of a file, 0 for one that was just made.
func schemaVersion(t *bbolt.Tx) (int, error) {
	b := t.Bucket([]byte(schemaBucket))
	if b == nil {
		if name, _ := t.Cursor().First(); name != nil {
			return 0, errors.New("belongs to another program; name a file of its own for sipward")
		}
		return 0, nil
	}
	version, err := strconv.Atoi(string(b.Get([]byte(schemaKey))))
	if err != nil || version < 1 {
		return 0, errDamaged
	}
	return version, nil
}
