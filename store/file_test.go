package store

import (
	"bufio"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestFileIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "state")
	for round, want := range []string{"", "k=1", "k=1 l=2"} {
		s, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, s, "b"); got != want {
			t.Errorf("round %d: %q, want %q", round, got, want)
		}
		put(t, s, "b", string(rune('k'+round)), string(rune('1'+round)))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileIsTheOwners(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no modes there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "state")
	mode := func(path string, want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(path), got, want)
		}
	}
	openTest(t, path, fileOptions{}).Close()
	mode(path, 0o600)
	mode(filepath.Dir(path), 0o700)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openTest(t, path, fileOptions{}).Close()
	mode(path, 0o600)
}

func TestFileOfOneProcess(t *testing.T) {
	t.Parallel()
	if lockTimeout != 2*time.Second {
		t.Errorf("the lock is waited for %v", lockTimeout)
	}
	path := filepath.Join(t.TempDir(), "state")
	o := fileOptions{timeout: 100 * time.Millisecond, maxSize: MaxSize, migrations: migrations}
	openTest(t, path, fileOptions{})
	_, err := openFile(path, o)
	want := "this sipward uses it already"
	if runtime.GOOS != "linux" {
		want = "another sipward uses it"
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestFilesRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(dir, "good")
	f := openTest(t, good, fileOptions{})
	for i := range 64 {
		put(t, f, "b", strings.Repeat("k", i+1), strings.Repeat("v", 4000))
	}
	var used int64
	if err := f.db.View(func(tx *bbolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	f.Close()
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for _, tt := range []struct{ name, path, want string }{
		{"text", write("text", []byte(strings.Repeat("sipward = true\n", 5000))), "is damaged, or no state file"},
		{"a few octets", write("few", []byte("hello")), "is damaged, or no state file"},
		{"cut short", write("short", whole[:len(whole)/4]), "is damaged, or no state file"},
		{"without its last octet", write("shortest", whole[:used-1]), "is damaged, or no state file"},
		{"cut to its first pages", write("shorter", whole[:2*os.Getpagesize()]), "is damaged, or no state file"},
		{"another program's", foreign, "belongs to another program"},
		{"a folder", dir, "is not a file"},
		{"below a file", filepath.Join(good, "state"), "making its folder"},
	} {
		s, err := OpenFile(tt.path)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "state file "+tt.path+": ") {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	// Whatever page is lost, opening the file says so, or what can be read then
	// can be; the process goes on.
	refused := 0
	for round := range 100 {
		r := rand.New(rand.NewPCG(uint64(round), 0))
		damaged := append([]byte(nil), whole...)
		page := r.IntN(len(damaged) / os.Getpagesize())
		for i := range 64 {
			damaged[page*os.Getpagesize()+i] = byte(r.Uint32())
		}
		path := write("damaged", damaged)
		s, err := OpenFile(path)
		switch {
		case err == nil:
			contents(t, s, "b")
			s.Close()
		case errors.Is(err, errDamaged):
			refused++
		default:
			t.Fatalf("page %d damaged: %v", page, err)
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
	t.Logf("%d of 100 damaged files refused", refused)
	// What was refused is not left locked.
	if err := os.WriteFile(filepath.Join(dir, "short"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	openTest(t, filepath.Join(dir, "short"), fileOptions{})
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	if os.Getuid() <= 0 {
		t.Skip("root and Windows ignore modes")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(filepath.Join(dir, "state")); err == nil || !strings.Contains(err.Error(), "the user that sipward runs as") {
		t.Errorf("got %v", err)
	}
}

// fakeMigrations are a first layout, and two after it as they may come to be.
func fakeMigrations(third error) []migration {
	return []migration{
		{to: 1},
		{to: 2, run: func(tx Tx) error { // values get an end
			return tx.Each("names", func(key string, value []byte) error {
				return tx.Put("names", key, append(value, '.'))
			})
		}},
		{to: 3, run: func(tx Tx) error { // and move
			err := tx.Each("names", func(key string, value []byte) error {
				return errors.Join(tx.Delete("names", key), tx.Put("people", key, value))
			})
			return errors.Join(err, third)
		}},
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	f := openTest(t, path, fileOptions{migrations: fakeMigrations(nil)[:1]})
	put(t, f, "names", "bob", "1")
	put(t, f, "names", "alice", "2")
	f.Close()

	// One that fails changes nothing, those before it included.
	o := fileOptions{timeout: time.Second, maxSize: MaxSize, migrations: fakeMigrations(errors.New("no room"))}
	if _, err := openFile(path, o); err == nil || err.Error() != "bringing it to layout 3: no room" {
		t.Errorf("a migration that fails: %v", err)
	}
	f = openTest(t, path, fileOptions{migrations: fakeMigrations(nil)[:1]})
	if got := contents(t, f, "names"); got != "alice=2 bob=1" {
		t.Errorf("behind a migration that failed: %s", got)
	}
	f.Close()

	for _, known := range []int{2, 3, 3} { // the last time there is nothing to do
		f = openTest(t, path, fileOptions{migrations: fakeMigrations(nil)[:known]})
		bucket := map[int]string{2: "names", 3: "people"}[known]
		if got, all := contents(t, f, bucket), contents(t, f, "names")+contents(t, f, "people"); got != "alice=2. bob=1." || got != all {
			t.Errorf("brought to layout %d: %s; in both buckets %s", known, got, all)
		}
		f.Close()
	}

	o.migrations = fakeMigrations(nil)[:2]
	_, err := openFile(path, o)
	want := "has the layout 3 of a newer sipward; this one knows layouts up to 2: run the newer one, or put back a backup made before the upgrade"
	if err == nil || err.Error() != want {
		t.Errorf("a newer file: %v", err)
	}
	// Refusing it did not touch it.
	f = openTest(t, path, fileOptions{migrations: fakeMigrations(nil)})
	if got := contents(t, f, "people"); got != "alice=2. bob=1." {
		t.Errorf("behind the refusal: %s", got)
	}
}

// Steps are in order without gaps, and files say the version of the last.
func TestMigrationsTable(t *testing.T) {
	t.Parallel()
	for i, m := range migrations {
		if m.to != i+1 {
			t.Errorf("step %d leads to version %d", i, m.to)
		}
	}
	f := openTest(t, filepath.Join(t.TempDir(), "state"), fileOptions{})
	if err := f.db.View(func(tx *bbolt.Tx) error {
		if v, err := schemaVersion(tx); err != nil || v != len(migrations) {
			t.Errorf("a new file has version %d, %v", v, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, version := range []string{"", "0", "-1", "one", "99999999999999999999"} {
		err := f.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(schemaBucket)).Put([]byte(schemaKey), []byte(version))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate(f.db, migrations); !errors.Is(err, errDamaged) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// Another process that has the file open is named.
func TestFileOfAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	child, out := startChild(t, path)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	o := fileOptions{timeout: 100 * time.Millisecond, maxSize: MaxSize, migrations: migrations}
	_, err := openFile(path, o)
	want := "another sipward uses it"
	if runtime.GOOS == "linux" {
		want += ", process " + itoa(child.Process.Pid) + ";"
	}
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stop that one, or give this one a state file of its own") {
		t.Errorf("got %v, want %q", err, want)
	}
	// Its end frees the file while OpenFile waits.
	opened := make(chan error, 1)
	go func() {
		f, err := openFile(path, fileOptions{timeout: 10 * time.Second, maxSize: MaxSize, migrations: migrations})
		if err == nil {
			f.Close()
		}
		opened <- err
	}()
	child.Process.Kill()
	if err := <-opened; err != nil {
		t.Errorf("behind the end of the other process: %v", err)
	}
}
