package architecture

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the source of a Go module.
type module struct {
	path  string // as in go.mod
	fset  *token.FileSet
	files []*file // in the order of their names
}

type file struct {
	name    string // path from the root, with slashes
	dir     string // "." for the root
	test    bool   // name ends in _test.go
	imports []string
	ast     *ast.File
}

// read parses every Go file below a root that holds a go.mod, except folders
// that the go command passes over (testdata, vendor, names that begin with . or
// _, nested modules) and files marked "//go:build ignore".
func read(root fs.FS) (*module, error) {
	gomod, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return nil, err
	}
	m := &module{fset: token.NewFileSet()}
	for line := range strings.Lines(string(gomod)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			m.path = strings.Trim(strings.TrimSpace(p), `"`)
		}
	}
	if m.path == "" {
		return nil, fmt.Errorf("go.mod names no module")
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return m.add(name, text)
	})
	return m, err
}

func (m *module) add(name string, text []byte) error {
	parsed, err := parser.ParseFile(m.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if ignored(parsed) {
		return nil
	}
	f := &file{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), ast: parsed}
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		f.imports = append(f.imports, p)
	}
	m.files = append(m.files, f)
	return nil
}

// ignored reports whether a file belongs to no package: go run file.go only.
func ignored(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && slices.Contains(strings.Fields(expr.String()), "ignore") {
				return true
			}
		}
	}
	return false
}

// folderOf returns the folder of an import path of this module.
func (m *module) folderOf(importPath string) (folder, bool) {
	if importPath == m.path {
		return ".", true
	}
	rel, ok := strings.CutPrefix(importPath, m.path+"/")
	return topFolder(rel), ok
}

// foreign reports whether an import path is neither of the standard library nor
// of this module. Paths of the standard library have no dot in their first part.
func (m *module) foreign(importPath string) bool {
	if _, ours := m.folderOf(importPath); ours {
		return false
	}
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".")
}
