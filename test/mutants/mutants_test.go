// Package mutants takes one safeguard at a time out of the code, by a build
// of the tests, and checks that a test fails that names it.
//
// One build of each test package holds all mutants; the environment says which one
// is awake.
package mutants

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// mutant is one safeguard that is taken out: the body of one function is
// replaced. Test, in Package, must fail then, and pass without the change.
type mutant struct {
	name     string
	file     string // holds the function
	function string
	body     string   // what it does instead
	pkg      string   // where the test is
	test     string   // its name
	subtests []string // of which each must fail, where any are named
}

var mutants = []mutant{
	{"commitment check", "keyexchange/transcript.go", "commitmentMatches", "return true", "./keyexchange", "TestCommitmentMismatchFails", nil},
	{"signatures bound into T3", "keyexchange/transcript.go", "bindSignatures", "return t2", "./keyexchange", "TestSignatureIsBoundIntoKeys", nil},
	{"SRTP authentication", "media/keyring.go", "authenticate", "return append(dst, pkt...), nil", "./media", "TestForgedPacketIsDropped", nil},
	{"source check", "media/end.go", "fromKnownSource", "return true", "./media", "TestStrangerIsNotRelayed", nil},
	{"wait of the caller's media for the callee", "b2bua/verdict.go", "holdsBack", "return false", "./test/calls", "TestUnattendedRefuses", []string{
		"the caller does not sign", "the caller's key hangs", "the caller signs with another key of that name", "the caller signs with a revoked key",
		"the caller signs with a colleague's key", "the caller signs for a colleague", "the caller signs with an ed25519 key alone",
		"the caller's signature is changed on the way", "the caller's signature is taken out on the way"}},
	{"wait of the caller's media for the callee before the answer", "b2bua/verdict.go", "holdsBack", "return false", "./test/calls", "TestRefusedBeforeTheAnswer", nil},
}

func TestEachSafeguardIsMissedByATest(t *testing.T) {
	t.Parallel()
	b := builtOnce(t)
	for i, m := range b.all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if _, err := b.asleep(m.pkg, m.test); err != nil {
				t.Fatalf("%s fails without any change: %v", m.test, err)
			}
			out, err := b.run(m.pkg, m.pattern(), i)
			if err == nil {
				t.Fatalf("without the %s, %s still passes", m.name, m.test)
			}
			if !strings.Contains(out, "--- FAIL: "+m.test) {
				t.Fatalf("without the %s the test does not fail but something else does:\n%s", m.name, out)
			}
			for _, s := range m.subtests {
				if !strings.Contains(out, "--- FAIL: "+m.test+"/"+rewritten(s)+" (") {
					t.Errorf("without the %s, %q still passes:\n%s", m.name, s, out)
				}
			}
		})
	}
}

// pattern is what -test.run takes for the mutant's tests.
func (m mutant) pattern() string {
	if len(m.subtests) == 0 {
		return "^" + m.test + "$"
	}
	var names []string
	for _, s := range m.subtests {
		names = append(names, regexp.QuoteMeta(rewritten(s)))
	}
	return "^" + m.test + "$/^(" + strings.Join(names, "|") + ")$"
}

// rewritten is a subtest's name as package testing writes it.
func rewritten(name string) string { return strings.ReplaceAll(name, " ", "_") }

// awake names, in the environment, the number of the mutant that is.
const awake = "SIPWARD_MUTANT"

// builds are the test packages with all mutants asleep.
type builds struct {
	root   string
	dir    string
	all    []mutant
	sound  map[string]func() (string, error) // a package's test without any mutant, once
	binary map[string]func() (string, error) // of a package, once
}

var builtOnce = func() func(t *testing.T) *builds {
	var mu sync.Mutex
	var b *builds
	return func(t *testing.T) *builds {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if b == nil {
			b = newBuilds(t)
		}
		return b
	}
}()

func newBuilds(t *testing.T) *builds {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b := &builds{root: root, dir: scratch, all: slices.Concat(mutants, attacked), sound: map[string]func() (string, error){}, binary: map[string]func() (string, error){}}
	table := b.overlay(t)
	for _, m := range b.all {
		if b.binary[m.pkg] == nil {
			b.binary[m.pkg] = sync.OnceValues(func() (string, error) { return b.build(m.pkg, table) })
		}
		b.sound[m.pkg+m.test] = sync.OnceValues(func() (string, error) { return b.run(m.pkg, "^"+m.test+"$", -1) })
	}
	return b
}

// asleep runs a test without any mutant, once.
func (b *builds) asleep(pkg, test string) (string, error) {
	out, err := b.sound[pkg+test]()
	if err == nil && strings.Contains(out, "no tests to run") {
		err = os.ErrNotExist
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return out, err
}

func (b *builds) build(pkg, table string) (string, error) {
	path := filepath.Join(b.dir, strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "_")+".test")
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", table, "-o", path, pkg)
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// run runs tests of a package with a mutant awake, or with none where the number is
// below 0.
func (b *builds) run(pkg, pattern string, number int) (string, error) {
	path, err := b.binary[pkg]()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, "-test.v", "-test.run", pattern)
	cmd.Dir, cmd.Env = filepath.Join(b.root, pkg), append(os.Environ(), fmt.Sprint(awake, "=", number))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// overlay writes the changed files and the map for go's -overlay, and returns the
// path of the map.
func (b *builds) overlay(t *testing.T) string {
	t.Helper()
	replace := map[string]string{}
	for i, m := range b.all {
		path := filepath.Join(b.root, m.file)
		read := path
		if replace[path] != "" {
			read = replace[path] // it holds other mutants already
		}
		src, err := os.ReadFile(read)
		if err != nil {
			t.Fatal(err)
		}
		if read == path {
			src = regexp.MustCompile(`(?m)^package \w+$`).ReplaceAll(src, []byte("$0\n\nimport mutantos \"os\"\n"))
		}
		changed, err := m.into(string(src), i)
		if err != nil {
			t.Fatal(err)
		}
		replace[path] = filepath.Join(b.dir, strings.ReplaceAll(m.file, "/", "_"))
		write(t, replace[path], []byte(changed))
	}
	table, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "overlay.json")
	write(t, path, table)
	return path
}

// into puts the mutant before what its function does.
func (m mutant) into(src string, number int) (string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, m.file, src, 0)
	if err != nil {
		return "", err
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != m.function || fn.Body == nil {
			continue
		}
		body := m.body
		if fn.Type.Results == nil {
			body += "\nreturn"
		}
		at := fset.Position(fn.Body.Lbrace).Offset + 1
		return fmt.Sprintf("%s\nif mutant%d { %s\n}\n%s\nvar mutant%[2]d = mutantos.Getenv(%[5]q) == \"%[2]d\"\n", src[:at], number, body, src[at:], awake), nil
	}
	return "", fmt.Errorf("%s has no function %s", m.file, m.function)
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// scratch is a folder for all tests of the package.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "mutants"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}
