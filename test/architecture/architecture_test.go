package architecture

import (
	"os"
	"slices"
	"testing"
)

// project is the source of this module, two folders up.
func project(t *testing.T) *module {
	t.Helper()
	m, err := read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The test would see nothing from a wrong folder, and pass.
func TestReadsTheWholeProject(t *testing.T) {
	t.Parallel()
	m := project(t)
	if m.path != "github.com/sipward/sipward" {
		t.Errorf("module %s", m.path)
	}
	for _, dir := range []string{"policy", "route", "configs", "keyexchange", "sas", "media", "media/srtp", "sip", "sip/sdp", "b2bua", "test/architecture"} {
		if !slices.ContainsFunc(m.files, func(f *file) bool { return f.dir == dir && !f.test }) {
			t.Errorf("no source seen in %s", dir)
		}
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, fault := range checkImports(project(t)) {
		t.Error(fault)
	}
}

func TestThirdPartyTypesStayInside(t *testing.T) {
	t.Parallel()
	for _, fault := range checkExports(project(t)) {
		t.Error(fault)
	}
}

func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, fault := range checkComments(project(t)) {
		t.Error(fault)
	}
}
