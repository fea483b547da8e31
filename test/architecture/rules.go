package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// folder is a package of the first level with all that lies within it. Within
// one folder packages import one another freely.
type folder = string

// mayImport says which folders of the module a folder may import, tests included.
// A folder that is not named here is a mistake: the table is the architecture.
var mayImport = map[folder][]folder{
	// The five that stand alone; b2bua converts between them.
	"sip":         {},
	"media":       {},
	"keyexchange": {},
	"sas":         {},
	"policy":      {},

	"route":   {},
	"store":   {},
	"record":  {},
	"trust":   {"sas"},
	"configs": {"policy", "route"},
	"b2bua":   {"sip", "route", "media", "keyexchange", "sas", "trust", "policy", "store", "record"},
	"console": {"b2bua"},

	"cmd":  {anything},
	"demo": {anything},
	"test": {anything},
}

const anything = "*"

// mayImportPackage narrows a row of mayImport to single packages of the folder.
var mayImportPackage = map[folder][]string{
	"trust": {"sas/attest"},
}

// testsMayImport are folders that the tests of these folders use beside those of
// mayImport: the phones of demo, and what test keeps for several packages.
var testsMayImport = map[folder][]folder{
	"b2bua":   {"demo", "test"},
	"console": {"demo", "test"},
	"trust":   {"store"}, // what it promises about crashes is the file's
	"sip":     {"demo"},
	"sas":     {"test"}, // keyrings of the real GnuPG
	"route":   {"store"},
}

// checkImports looks at the imports of every file.
func checkImports(m *module) []string {
	var faults []string
	for _, f := range m.files {
		from := topFolder(f.dir)
		allowed, known := mayImport[from]
		if !known {
			faults = append(faults, fmt.Sprintf("%s: folder %q is not in the table of test/architecture/rules.go; say there what it may import", f.name, from))
			continue
		}
		for _, path := range f.imports {
			to, inModule := m.folderOf(path)
			if !inModule || to == from || slices.Contains(allowed, anything) {
				continue
			}
			if slices.Contains(allowed, to) {
				single := mayImportPackage[from]
				rel := strings.TrimPrefix(path, m.path+"/")
				if single == nil || slices.Contains(single, rel) {
					continue
				}
				faults = append(faults, fmt.Sprintf("%s: imports %s; of folder %q the folder %q may import only %s", f.name, path, to, from, strings.Join(single, ", ")))
				continue
			}
			if f.test && slices.Contains(testsMayImport[from], to) {
				continue
			}
			may := "nothing of this module"
			if len(allowed) > 0 {
				may = "only " + strings.Join(allowed, ", ")
			}
			faults = append(faults, fmt.Sprintf("%s: imports %s; folder %q may import %s", f.name, path, from, may))
		}
	}
	return faults
}

// checkComments asks every package for a comment that begins in the way godoc
// expects, in one of its files at least.
func checkComments(m *module) []string {
	type pkg struct{ dir, name string }
	said := map[pkg]bool{}
	first := map[pkg]string{}
	var order []pkg
	for _, f := range m.files {
		p := pkg{f.dir, strings.TrimSuffix(f.ast.Name.Name, "_test")}
		if _, ok := first[p]; !ok {
			first[p] = f.name
			order = append(order, p)
		}
		if f.ast.Doc == nil {
			continue
		}
		words := strings.Fields(f.ast.Doc.Text())
		if len(words) < 5 { // no sentence
			continue
		}
		if p.name == "main" {
			said[p] = said[p] || words[0] == "Command"
		} else {
			said[p] = said[p] || words[0] == "Package" && words[1] == p.name
		}
	}
	var faults []string
	for _, p := range order {
		if said[p] {
			continue
		}
		want := "// Package " + p.name + " ..."
		if p.name == "main" {
			want = "// Command ..."
		}
		faults = append(faults, fmt.Sprintf("%s: package %s has no package comment; write one that begins with %q and says in a sentence what it is for", first[p], p.name, want))
	}
	return faults
}

func topFolder(dir string) folder {
	top, _, _ := strings.Cut(dir, "/")
	return top
}
