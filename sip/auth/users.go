package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pollEvery is how often, at most, use of the accounts looks at the file.
const pollEvery = time.Second

// settled is how old a file must be when it is read for its time to be
// trusted: a second write within the clock's grain would not show.
const settled = 2 * time.Second

// Users are the accounts of one realm in a text file. A line is one of
//
//	# comment
//	bob:the password
//	bob:{plain}a password with colons, or with a brace in front
//	bob:example.com:939e7578ed9e3c518a452acee763bce9
//	bob:example.com:{SHA-256}7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232
//
// The hashes are HA1 with MD5, or with the algorithm in braces, as [HashLine]
// writes them; one user may have a line for each algorithm. They save the
// password itself but open the account as well: the file is a secret either way.
//
// A changed file is taken over by itself: use looks at it at most once a
// second. One that is broken changes nothing until it is mended. All methods
// may be called from several goroutines at once.
type Users struct {
	path, realm string
	now         func() time.Time
	start       time.Time

	accounts atomic.Pointer[accounts]
	next     atomic.Int64 // nanoseconds after start: when to look again

	reading sync.Mutex // one goroutine looks, the others go on with what is there
	last    fileMark   // guarded by reading

	mu       sync.Mutex
	err      error
	onReload func(error)
}

// fileMark tells one state of a file from another.
type fileMark struct {
	info  fs.FileInfo
	fresh bool // so young when it was read that it may change unseen
}

// OpenUsers reads the file. An error about its lines is a [*FileError]; the
// errors hold no part of them.
func OpenUsers(path, realm string) (*Users, error) { return openUsers(path, realm, time.Now) }

func openUsers(path, realm string, now func() time.Time) (*Users, error) {
	if err := checkRealm(realm); err != nil {
		return nil, err
	}
	u := &Users{path: path, realm: realm, now: now, start: now()}
	a, mark, err := u.read()
	if err != nil {
		return nil, err
	}
	u.last = mark
	u.accounts.Store(a)
	u.next.Store(int64(pollEvery))
	return u, nil
}

// HA1 implements [Lookup].
func (u *Users) HA1(user string, a Algorithm) (string, bool) {
	u.poll()
	rank := a.rank()
	if rank < 0 {
		return "", false
	}
	h := u.accounts.Load().ha1[user][rank]
	return h, h != ""
}

// Serves implements [Lookup]: an algorithm is offered if every user has a hash
// of it, and MD5 if any has, since clients that know a better one pass it by.
func (u *Users) Serves(a Algorithm) bool {
	u.poll()
	rank := a.rank()
	return rank >= 0 && u.accounts.Load().serves[rank]
}

// Realm is what the hashes were made for.
func (u *Users) Realm() string { return u.realm }

// Len is the number of users.
func (u *Users) Len() int { return len(u.accounts.Load().ha1) }

// Warnings are sentences about what is not wrong but should be seen to: who
// may read the file, what its hashes rule out. They change with the file.
func (u *Users) Warnings() []string { return append([]string(nil), u.accounts.Load().warnings...) }

// Err says why the file as it is now is not in use; nil if it is.
func (u *Users) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// OnReload has f called after each reading of a changed file: with nil when
// its users are in use, with the error when the old ones stay. f runs on the
// goroutine that came across the change, and must not take long.
func (u *Users) OnReload(f func(error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.onReload = f
}

// Format keeps hashes out of logs: whatever the verb, only the path is shown.
func (u *Users) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "auth.Users(%s)", u.path) }

// poll looks at the file when it is time and takes a changed one over.
func (u *Users) poll() {
	now := int64(u.now().Sub(u.start))
	if next := u.next.Load(); now < next || !u.next.CompareAndSwap(next, now+int64(pollEvery)) {
		return
	}
	if !u.reading.TryLock() {
		return
	}
	looked, changed, err := u.look()
	u.reading.Unlock()
	if !looked {
		return
	}
	u.mu.Lock()
	// The same fault is told once, not every second.
	tell := changed || (err == nil) != (u.err == nil) || err != nil && err.Error() != u.err.Error()
	u.err = err
	f := u.onReload
	u.mu.Unlock()
	if tell && f != nil {
		f(err)
	}
}

// look reads the file if it differs from what was read last, or might. Of one
// that cannot be read the error comes again with each look.
func (u *Users) look() (looked, changed bool, err error) {
	info, err := os.Stat(u.path)
	if err != nil {
		u.last = fileMark{} // whatever appears there is new
		return true, false, fmt.Errorf("auth: users: %w", err)
	}
	was := u.last
	same := was.info != nil && os.SameFile(info, was.info) && info.Size() == was.info.Size() &&
		info.ModTime().Equal(was.info.ModTime()) && info.Mode() == was.info.Mode()
	if same && !was.fresh {
		return false, false, nil
	}
	a, mark, err := u.read()
	u.last = mark
	if err != nil {
		// Without a mark it was not even opened: that is one fault however
		// often it is looked at.
		return true, mark.info != nil && !same, err
	}
	u.accounts.Store(a)
	return true, !same, nil
}

// read reads and judges the file; the mark says which state of it that was.
func (u *Users) read() (*accounts, fileMark, error) {
	// Opening a named pipe would wait for a writer.
	if info, err := os.Stat(u.path); err != nil {
		return nil, fileMark{}, fmt.Errorf("auth: users: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fileMark{}, fmt.Errorf("auth: users: %s is no regular file", u.path)
	}
	f, err := os.Open(u.path)
	if err != nil {
		return nil, fileMark{}, fmt.Errorf("auth: users: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileMark{}, fmt.Errorf("auth: users: %w", err)
	}
	age := u.now().Sub(info.ModTime())
	mark := fileMark{info: info, fresh: age < settled && age > -settled}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, mark, fmt.Errorf("auth: users: %s is no regular file of at most %d MiB", u.path, maxFile>>20)
	}
	b := make([]byte, info.Size()+1) // one octet more shows that it grew
	n, err := io.ReadFull(f, b)
	defer clear(b)
	switch {
	case err == nil:
		return nil, fileMark{}, fmt.Errorf("auth: users: %s grew while it was read", u.path)
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, mark, fmt.Errorf("auth: users: %w", err)
	}
	a, problems := parseUsers(b[:n], u.realm)
	if len(problems) > 0 {
		return nil, mark, &FileError{Path: u.path, Problems: problems}
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o006 != 0 {
		a.warnings = append(a.warnings, fmt.Sprintf("%s is open to every user of this machine (mode %04o); chmod 600 closes it", u.path, mode))
	}
	return a, mark, nil
}
