// Package mutants takes one safeguard at a time out of the code, by a build
// of the test, and checks that a test fails that names it.
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
}

func TestEachSafeguardIsMissedByATest(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sound := map[string]func() error{} // a test without any change, once
	all := slices.Concat(mutants, attacked)
	for _, m := range all {
		sound[m.pkg+m.test] = sync.OnceValue(func() error {
			if out, err := run(root, m.pkg, m.test, ""); err != nil {
				return fmt.Errorf("%s fails without any change:\n%s", m.test, out)
			}
			return nil
		})
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if err := sound[m.pkg+m.test](); err != nil {
				t.Fatal(err)
			}
			out, err := run(root, m.pkg, m.pattern(), m.overlay(t, root))
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

// pattern is what go test -run takes for the mutant's tests.
func (m mutant) pattern() string {
	if len(m.subtests) == 0 {
		return m.test
	}
	var names []string
	for _, s := range m.subtests {
		names = append(names, regexp.QuoteMeta(rewritten(s)))
	}
	return m.test + "$/^(" + strings.Join(names, "|") + ")"
}

// rewritten is a subtest's name as package testing writes it.
func rewritten(name string) string { return strings.ReplaceAll(name, " ", "_") }

// run runs a test, with the change where overlay names it.
func run(root, pkg, pattern, overlay string) (string, error) {
	args := []string{"test", "-count=1", "-run", "^" + pattern + "$"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		return string(out), os.ErrNotExist
	}
	return string(out), err
}

// overlay writes the changed file beside the tree and the map for go's
// -overlay, and returns the path of the map.
func (m mutant) overlay(t *testing.T, root string) string {
	t.Helper()
	path := filepath.Join(root, m.file)
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	changed := ""
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != m.function || fn.Body == nil {
			continue
		}
		from, to := fset.Position(fn.Body.Lbrace).Offset, fset.Position(fn.Body.Rbrace).Offset
		changed = string(src[:from+1]) + "\n" + m.body + "\n" + string(src[to:])
	}
	if changed == "" {
		t.Fatalf("%s has no function %s", m.file, m.function)
	}
	dir := t.TempDir()
	file, table := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: []byte(changed), table: b} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return table
}
