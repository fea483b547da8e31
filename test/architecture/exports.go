package architecture

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkExports finds types of other modules in what a package exports: in
// signatures of functions and methods, in exported fields, in interfaces, in
// variables, and in unexported types of the package that are reached from there.
// Commands export nothing.
func checkExports(m *module) []string {
	type pkg struct{ dir, name string }
	packages := map[pkg][]*file{}
	var order []pkg
	for _, f := range m.files {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		p := pkg{f.dir, f.ast.Name.Name}
		if packages[p] == nil {
			order = append(order, p)
		}
		packages[p] = append(packages[p], f)
	}
	var faults []string
	for _, p := range order {
		faults = append(faults, newSurface(m, packages[p]).check()...)
	}
	return faults
}

// surface is what one package shows to others.
type surface struct {
	m       *module
	types   map[string]declared[*ast.TypeSpec]
	methods map[string][]declared[*ast.FuncDecl] // by receiver type
	queue   []string                             // types to look at
	seen    map[string]bool
	faults  []string
}

type declared[T any] struct {
	file *file
	decl T
}

func newSurface(m *module, files []*file) *surface {
	s := &surface{m: m, types: map[string]declared[*ast.TypeSpec]{}, methods: map[string][]declared[*ast.FuncDecl]{}, seen: map[string]bool{}}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					name := receiver(d)
					s.methods[name] = append(s.methods[name], declared[*ast.FuncDecl]{f, d})
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						s.types[t.Name.Name] = declared[*ast.TypeSpec]{f, t}
					}
				}
			}
		}
	}
	for _, f := range files {
		s.roots(f)
	}
	return s
}

// roots looks at the exported functions and variables of a file, and notes its
// exported types.
func (s *surface) roots(f *file) {
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				s.expr(f, "func "+d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						s.reach(spec.Name.Name)
					}
				case *ast.ValueSpec:
					s.values(f, d.Tok, spec)
				}
			}
		}
	}
}

// values looks at a declared type, or else at what the value shows of its type.
func (s *surface) values(f *file, tok token.Token, spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if !name.IsExported() {
			continue
		}
		what := tok.String() + " " + name.Name
		switch {
		case spec.Type != nil:
			s.expr(f, what, spec.Type)
		case i < len(spec.Values):
			s.value(f, what, spec.Values[i])
		case len(spec.Values) == 1:
			s.value(f, what, spec.Values[0])
		}
	}
}

// value looks at the outermost part of an expression, which decides its type as
// far as can be told without type-checking.
func (s *surface) value(f *file, what string, e ast.Expr) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		s.value(f, what, e.X)
	case *ast.UnaryExpr:
		s.value(f, what, e.X)
	case *ast.CompositeLit:
		s.expr(f, what, e.Type)
	case *ast.FuncLit:
		s.expr(f, what, e.Type)
	case *ast.CallExpr:
		if fun, ok := e.Fun.(*ast.Ident); ok && (fun.Name == "new" || fun.Name == "make") && len(e.Args) > 0 {
			s.expr(f, what, e.Args[0])
			return
		}
		s.expr(f, what, e.Fun)
	case *ast.SelectorExpr:
		s.expr(f, what, e)
	}
}

func (s *surface) reach(name string) {
	if !s.seen[name] {
		s.seen[name] = true
		s.queue = append(s.queue, name)
	}
}

// check looks at the types reached until there are no more of them.
func (s *surface) check() []string {
	for len(s.queue) > 0 {
		name := s.queue[0]
		s.queue = s.queue[1:]
		t, ok := s.types[name]
		if !ok {
			continue
		}
		if t.decl.TypeParams != nil {
			s.fields(t.file, "type "+name, t.decl.TypeParams)
		}
		s.expr(t.file, "type "+name, t.decl.Type)
		for _, method := range s.methods[name] {
			if method.decl.Name.IsExported() {
				s.expr(method.file, "method "+name+"."+method.decl.Name.Name, method.decl.Type)
			}
		}
	}
	slices.Sort(s.faults)
	return slices.Compact(s.faults)
}

// expr walks over a type.
func (s *surface) expr(f *file, what string, e ast.Expr) {
	switch e := e.(type) {
	case nil:
	case *ast.Ident:
		if _, ours := s.types[e.Name]; ours {
			s.reach(e.Name)
		} else if path := dotImported(s.m, f); path != "" && e.IsExported() {
			s.fault(f, what, path+"."+e.Name)
		}
	case *ast.SelectorExpr:
		s.selector(f, what, e)
	case *ast.StarExpr:
		s.expr(f, what, e.X)
	case *ast.ParenExpr:
		s.expr(f, what, e.X)
	case *ast.ArrayType:
		s.expr(f, what, e.Elt)
	case *ast.Ellipsis:
		s.expr(f, what, e.Elt)
	case *ast.ChanType:
		s.expr(f, what, e.Value)
	case *ast.MapType:
		s.expr(f, what, e.Key)
		s.expr(f, what, e.Value)
	case *ast.UnaryExpr: // ~T in a constraint
		s.expr(f, what, e.X)
	case *ast.BinaryExpr: // A | B in a constraint
		s.expr(f, what, e.X)
		s.expr(f, what, e.Y)
	case *ast.IndexExpr:
		s.expr(f, what, e.X)
		s.expr(f, what, e.Index)
	case *ast.IndexListExpr:
		s.expr(f, what, e.X)
		for _, index := range e.Indices {
			s.expr(f, what, index)
		}
	case *ast.FuncType:
		for _, list := range []*ast.FieldList{e.TypeParams, e.Params, e.Results} {
			s.fields(f, what, list)
		}
	case *ast.InterfaceType:
		for _, method := range e.Methods.List {
			if len(method.Names) == 0 || method.Names[0].IsExported() {
				s.expr(f, what, method.Type)
			}
		}
	case *ast.StructType:
		for _, field := range e.Fields.List {
			// An embedded type lends its methods and fields, exported or not itself.
			if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
				s.expr(f, what, field.Type)
			}
		}
	}
}

func (s *surface) fields(f *file, what string, list *ast.FieldList) {
	if list == nil {
		return
	}
	for _, field := range list.List {
		s.expr(f, what, field.Type)
	}
}

// selector judges p.T. Without type-checking the name p of an import is told from
// its path; an import whose path does not show the name has to be given one.
func (s *surface) selector(f *file, what string, e *ast.SelectorExpr) {
	p, ok := e.X.(*ast.Ident)
	if !ok {
		s.expr(f, what, e.X)
		return
	}
	for _, spec := range f.ast.Imports {
		path := strings.Trim(spec.Path.Value, "`\"")
		named := spec.Name != nil && spec.Name.Name == p.Name
		if !named && (spec.Name != nil || !slices.Contains(packageNames(path), p.Name)) {
			continue
		}
		if s.m.foreign(path) {
			s.fault(f, what, path+"."+e.Sel.Name)
		}
		return
	}
	if slices.ContainsFunc(f.ast.Imports, func(spec *ast.ImportSpec) bool {
		return spec.Name == nil && s.m.foreign(strings.Trim(spec.Path.Value, "`\""))
	}) {
		s.faults = append(s.faults, fmt.Sprintf("%s: %s mentions %s.%s, and no import is seen to be %s; give the import that name in the import line", f.name, what, p.Name, e.Sel.Name, p.Name))
	}
}

func (s *surface) fault(f *file, what, foreignType string) {
	s.faults = append(s.faults, fmt.Sprintf("%s: %s mentions %s; types of other modules stay inside the package that uses them", f.name, what, foreignType))
}

// packageNames are the names that a package of this path may have: its last
// part, without version, go- and -go, .go.
func packageNames(path string) []string {
	parts := strings.Split(path, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && len(last) > 1 && last[0] == 'v' && strings.Trim(last[1:], "0123456789") == "" {
		last = parts[len(parts)-2]
	}
	if before, version, ok := strings.Cut(last, ".v"); ok && strings.Trim(version, "0123456789") == "" {
		last = before // gopkg.in/yaml.v3
	}
	names := []string{last}
	for _, name := range []string{strings.TrimPrefix(last, "go-"), strings.TrimSuffix(last, "-go"), strings.TrimSuffix(last, ".go")} {
		if name != last {
			names = append(names, name)
		}
	}
	return names
}

// dotImported returns the foreign path that a file imports with a dot, "" if none.
func dotImported(m *module, f *file) string {
	for _, spec := range f.ast.Imports {
		if path := strings.Trim(spec.Path.Value, "`\""); spec.Name != nil && spec.Name.Name == "." && m.foreign(path) {
			return path
		}
	}
	return ""
}

// receiver is the name of a method's type, without pointer and type parameters.
func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
